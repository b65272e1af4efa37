"""Writing to a log: append, roll, flush.

Owns: ``AppendableLog``, the part of ``Log`` that makes it longer. An append validates, decides, writes once and only
then changes anything in memory, so a refused or failed append leaves the log as it was.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from typing import Literal

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import CONTROL, LENGTH_PREFIX_SIZE, TRANSACTIONAL, BatchHeader
from broker.protocol.markers import read_marker
from broker.storage.aborted_transactions import ABORTED_FILE
from broker.storage.append_validation import (
    validate_client_batch,
    validate_coordinator_batches,
    validate_replicated_batches,
)
from broker.storage.batch_placing import stamped, with_append_time
from broker.storage.environment import DISK_FULL_ERRNOS
from broker.storage.flush_ticket import FlushTicket
from broker.storage.leader_epochs import LEADER_EPOCH_FILE
from broker.storage.log_state import LogAppend, LogState
from broker.storage.producer_state import ProducerBatch
from broker.storage.roll_policy import is_full, is_old, reserve_bytes, roll_timestamp
from broker.storage.segment import RELATIVE_OFFSET_MAX, Segment
from broker.storage.verification import Proof
from broker.types import NO_EPOCH, NO_TIMESTAMP, Buffer

Origin = Literal["client", "coordinator"]
NO_DESCRIPTORS_ERRNOS = frozenset((errno.EMFILE, errno.ENFILE))
NEVER = 2**63


class AppendableLog(LogState):
    __slots__ = ()

    # Append ----------------------------------------------------------------------------------------

    def append_as_leader(
        self,
        records: Buffer,
        *,
        leader_epoch: int,
        now_ms: int,
        origin: Origin = "client",
        proof: Proof | None = None,
    ) -> LogAppend:
        """Validate, give offsets, write. ``records`` is stamped in place if it may be written to.

        With ``proof``, transactional data must continue an open transaction or have the permission that
        ``ProducerState.begin_verification`` gave for it. Raises ``KafkaError``; then nothing was written.
        """
        if self._health.failed_reason is not None or self.offline_reason is not None:
            raise self._refusal()
        config = self._config
        batches: Sequence[tuple[int, BatchHeader]]
        if origin == "client":
            header = validate_client_batch(records, config, now_ms)
            if header[9] >= 0:
                duplicate = self.producer_state.check(header)
                if duplicate is not None:
                    return _original(duplicate, config)
                if proof is not None and header[5] & TRANSACTIONAL:
                    self.producer_state.check_permission(header, proof.permission)
            batches = ((0, header),)
        else:
            batches = validate_coordinator_batches(records, config)
            self._check_coordinator(records, batches, proof)
        append_time = NO_TIMESTAMP
        if config.message_timestamp_type == "LogAppendTime":
            append_time = now_ms
            records, batches = with_append_time(records, batches, now_ms)
        first_offset = offset = self.log_end_offset
        newest = NO_TIMESTAMP
        for _, header in batches:
            offset += header[6] + 1
            if header[8] > newest:
                newest = header[8]
        segment = self._segment_for(len(records), offset - 1, newest)
        self._write(segment, stamped(records, batches, first_offset, leader_epoch), len(records))
        if leader_epoch != self._latest_epoch:
            self._begin_epoch(leader_epoch, first_offset)
        return self._account(segment, records, batches, first_offset, now_ms, append_time)

    def _check_coordinator(
        self, records: Buffer, batches: Sequence[tuple[int, BatchHeader]], proof: Proof | None
    ) -> None:
        state = self.producer_state
        for position, header in batches:
            if header.is_control:
                version = 0 if proof is None else proof.transaction_version
                state.check_marker(header, read_marker(records, position), version)
            elif header.has_producer_id:
                state.check_coordinator(header)
                if proof is not None and header.is_transactional:
                    state.check_permission(header, proof.permission)

    def append_as_follower(self, records: Buffer) -> LogAppend:
        """Write what the leader sent: offsets and epochs stay. Raises ``KafkaError``; then nothing was written."""
        if self._health.failed_reason is not None or self.offline_reason is not None:
            raise self._refusal()
        batches, gaps = validate_replicated_batches(records, self.log_end_offset)
        if not batches:
            return LogAppend(self.log_end_offset, self.log_end_offset - 1, -1, False, 0, 0, NO_TIMESTAMP)
        if gaps and not self.gaps_allowed:
            self._allow_gaps()
        last = batches[-1][1]
        newest = max(header.max_timestamp for _, header in batches)
        segment = self._segment_for(len(records), last.last_offset, newest)
        self._write(segment, (records,), len(records))
        for _, header in batches:
            if header.leader_epoch > self._latest_epoch:
                first = self._latest_epoch == NO_EPOCH and self.log_end_offset == self.log_start_offset
                self._begin_epoch(header.leader_epoch, self.log_start_offset if first else header.base_offset)
        return self._account(segment, records, batches, None, self._environment.clock_wall_ms(), NO_TIMESTAMP)

    def _allow_gaps(self) -> None:
        """The leader's log was compacted once. Said durably before the first gap is written: without it a restart would
        take the gap for damage."""
        self.first_dirty_offset = self.log_start_offset
        try:
            self._environment.save_cleaner_offsets()
        except OSError as error:
            self.first_dirty_offset = None
            raise self._storage_error(error) from error
        for segment in self._segments.all():
            segment.gaps_allowed = True

    def _segment_for(self, size: int, last_offset: int, newest_timestamp: int) -> Segment:
        """The active segment, after a roll if the append would not fit it."""
        segment = self._segments.active
        if not segment.size and last_offset - segment.base_offset <= RELATIVE_OFFSET_MAX:
            return segment
        if self._roll_timestamp is None:
            with self._storage_errors():
                due = roll_timestamp(segment, self._config)
            self._roll_timestamp = NEVER if due is None else due
        if newest_timestamp > self._roll_timestamp or is_full(segment, size, last_offset, self._config):
            # Behind a gap wider than relative offsets reach, the segment begins as close to its batch as it must.
            return self._roll(max(self.log_end_offset, last_offset - RELATIVE_OFFSET_MAX))
        return segment

    def _write(self, segment: Segment, pieces: Sequence[Buffer], size: int) -> None:
        """All of it or nothing: after a failure the file is cut back to what was there before."""
        environment = self._environment
        try:
            fd = environment.files.use(segment.file)
            written = environment.filesystem.writev(fd, pieces)
            if written != size:
                self._write_rest(fd, pieces, written, size)
        except OSError as error:
            raise self._write_failed(segment, error) from error

    def _write_rest(self, fd: int, pieces: Sequence[Buffer], written: int, size: int) -> None:
        """A short write is how a full disk announces itself; going on makes it say so."""
        rest = memoryview(b"".join(pieces))[written:]
        while rest:
            rest = rest[self._environment.filesystem.writev(fd, (rest,)) :]

    def _write_failed(self, segment: Segment, error: OSError) -> KafkaError:
        filesystem, files = self._environment.filesystem, self._environment.files
        try:
            if filesystem.size(files.use(segment.file)) != segment.size:
                filesystem.truncate(files.use(segment.file), segment.size)
        except OSError as second:
            self._health.fail(f"{segment.file.path}: {error}, and cutting the torn write failed: {second}")
        if error.errno not in DISK_FULL_ERRNOS | NO_DESCRIPTORS_ERRNOS:
            self._health.fail(f"writing {segment.file.path} failed: {error}")
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"Writing to the log failed: {error.strerror or error}")

    def _account(
        self,
        segment: Segment,
        records: Buffer,
        batches: Sequence[tuple[int, BatchHeader]],
        first_offset: int | None,
        now_ms: int,
        append_time: int,
    ) -> LogAppend:
        """The batches are in the file. ``first_offset``: given here and contiguous; ``None``: the batches' own."""
        interval = self._config.index_interval_bytes
        record_count, size_before, newest = 0, segment.size, NO_TIMESTAMP
        if not size_before:
            segment.created_ms = now_ms
        base_offset = first_offset if first_offset is not None else batches[0][1][0]
        next_offset = base_offset
        for position, header in batches:
            start = next_offset if first_offset is not None else header[0]
            next_offset = start + header[6] + 1
            segment.appended(header[1] + LENGTH_PREFIX_SIZE, next_offset - 1, header[8], interval)
            record_count += header[12]
            if header[8] > newest:
                newest = header[8]
            if header[9] >= 0:
                if header[5] & CONTROL:
                    marker = read_marker(records, position)
                    ended = self.producer_state.end_transaction(header, marker, start, now_ms)
                    if ended is not None and ended.aborted:
                        self._unflushed.note_path(self._aborted.add(segment, ended))
                        self._unflushed.note_directory(self.directory)
                else:
                    self.producer_state.update(header, start, now_ms)
        if not segment.dirty:
            self._unflushed.note_segment(segment)
        byte_count = segment.size - size_before
        self.size_bytes += byte_count
        self.log_end_offset = next_offset
        if newest > self.last_record_ms:
            self.last_record_ms = newest
        return LogAppend(base_offset, next_offset - 1, append_time, False, record_count, byte_count, newest)

    # Rolling ---------------------------------------------------------------------------------------

    def roll_if_due(self, now_ms: int) -> bool:
        """Close an active segment older than ``segment.ms``, so that retention can reach it."""
        segment = self._segments.active
        if not segment.size or self._health.failed_reason is not None or self.offline_reason is not None:
            return False
        if segment.created_ms < 0:
            status = self._environment.filesystem.status(segment.file.path)
            segment.created_ms = status.modified_ms if status else now_ms
        if not is_old(segment, segment.created_ms, now_ms, self._config):
            return False
        self._roll(self.log_end_offset)
        return True

    def _roll(self, base_offset: int) -> Segment:
        """Close the active segment and begin one at ``base_offset``, whose name is durable with the next ticket."""
        old = self._segments.active
        with self._storage_errors():
            self._save_epochs()
            self._save_aborted()
        segment = self._new_segment(base_offset)
        self._unflushed.note_directory(self.directory)
        with contextlib.suppress(OSError):  # indexes and snapshots are shortcuts, rebuilt from the log if missing
            old.seal()
            if self._config.preallocate:
                old.release_reserve()
            self._unflushed.note_path(old.offset_index.path)
            self._unflushed.note_path(old.time_index.path)
            if old.aborted is not None:
                self._unflushed.note_path(old.aborted.path)
            if self._snapshots.take(self.producer_state, self.log_end_offset, durable=False):
                self._unflushed.note_path(self._snapshots.path(self.log_end_offset))
        self._segments.add(segment)
        self._roll_timestamp = None
        return segment

    def _new_segment(self, base_offset: int) -> Segment:
        segment = Segment(self._environment, self.directory, base_offset, gaps_allowed=self.gaps_allowed)
        with self._storage_errors():
            segment.create(reserve_bytes=reserve_bytes(self._config))
        return segment

    def begin_epoch(self, epoch: int) -> None:
        """A leader's: whatever comes from here on belongs to ``epoch``, so older epochs end here, also while nothing
        comes. Without it, what a former leader wrote alone could not be told from what comes next."""
        self._begin_epoch(epoch, self.log_end_offset)

    def forget_unwritten_epochs(self) -> None:
        """A follower's: an epoch in which nothing was written here says nothing about what the log holds."""
        if self._epochs.truncate_from_end(self.log_end_offset):
            self._latest_epoch = self._epochs.latest
            self._epochs_saved = False

    def _begin_epoch(self, epoch: int, start_offset: int) -> None:
        if self._epochs.assign(epoch, start_offset):
            self._latest_epoch = self._epochs.latest
            self._epochs_saved = False

    def _save_epochs(self) -> None:
        """Write the epochs, durable with the next ticket. Raises ``OSError``.

        Recovery learns the epochs of every segment it scans, so they must be on disk only when a segment is closed:
        from then on it may lie below the recovery point.
        """
        if not self._epochs_saved:
            path = os.path.join(self.directory, LEADER_EPOCH_FILE)
            self._environment.filesystem.replace_file(path, self._epochs.encode(), durable=False)
            self._unflushed.note_path(path)
            self._unflushed.note_directory(self.directory)
            self._epochs_saved = True

    def _save_aborted(self) -> None:
        """Write what the transaction indexes must contain, durable with the next ticket. Raises ``OSError``."""
        content = self._aborted.checkpoint()
        if content != self._aborted.saved:
            path = os.path.join(self.directory, ABORTED_FILE)
            self._environment.filesystem.replace_file(path, content, durable=False)
            self._unflushed.note_path(path)
            self._unflushed.note_directory(self.directory)
            self._aborted.saved = content

    # Durability ------------------------------------------------------------------------------------

    def note_created(self, metadata_path: str) -> None:
        """This log's directory is new, or nobody knows whether its names were synced: the first ticket sees to it."""
        self._unflushed.note_path(metadata_path)
        self._unflushed.note_directory(self.directory)
        self._unflushed.note_partition_directory()

    @property
    def closed_segments_unflushed(self) -> bool:
        """A roll left bytes that no ticket has made durable yet: flush them soon even if nobody waits for it, or a
        restart has all of them to scan."""
        return self.flushed_offset < self._segments.active.base_offset

    def flush_ticket(self) -> FlushTicket | None:
        """What must be synced for everything appended so far; ``None`` if nothing, or while a ticket is out."""
        if self._health.failed_reason is not None:
            return None
        with self._storage_errors():
            ticket = self._unflushed.take(self)
        if ticket is not None:
            active = self._segments.active
            self._reader.remember(self.log_end_offset, active, active.size)
        return ticket

    def flushed(self, ticket: FlushTicket) -> None:
        """Back on the loop, after ``ticket.run()``: everything below its end offset is durable.

        Raises ``KafkaError`` KAFKA_STORAGE_ERROR if a sync failed; the whole log dir has then failed for good.
        """
        is_current = self._unflushed.settle(ticket)
        if ticket.error is not None:
            raise self._health.error()
        if is_current and ticket.end_offset > self.flushed_offset:
            self.flushed_offset = ticket.end_offset


def _original(duplicate: ProducerBatch, config: TopicConfig) -> LogAppend:
    append_time = duplicate.timestamp_ms if config.message_timestamp_type == "LogAppendTime" else NO_TIMESTAMP
    return LogAppend(duplicate.base_offset, duplicate.last_offset, append_time, True, 0, 0, duplicate.timestamp_ms)
