"""The log of one partition: append at the end, read anywhere, give up the beginning.

Owns: the partition's segments, offsets, producers and leader epochs, and the order in which they change. One event
loop owns a log; only ``FlushTicket.run`` happens elsewhere. Callers: the partition driver (append, read, flush),
the log dir (open, checkpoint, close) and through the driver the handlers (searches, deletes).

What must stay true, at every moment:
    log_start_offset ≤ log_end_offset and flushed_offset ≤ log_end_offset
    a batch is validated whole before a byte of it is written, and written whole or not at all
    below flushed_offset everything survives a power cut, names of files included
    after a failed fsync nothing is appended any more (``DirectoryHealth``)
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import LENGTH_PREFIX_SIZE, BatchHeader, set_log_append_time, stamp, stamped_prefix
from broker.protocol.private import SegmentInfo
from broker.storage.append_validation import (
    validate_client_batch,
    validate_coordinator_batches,
    validate_replicated_batches,
)
from broker.storage.environment import LogEnvironment
from broker.storage.flush_ticket import FlushTicket
from broker.storage.leader_epochs import LEADER_EPOCH_FILE
from broker.storage.log_reader import LogReader
from broker.storage.log_segments import LogSegments
from broker.storage.producer_state import ProducerBatch
from broker.storage.recovery import LoadedPartition, replay_producers
from broker.storage.roll_policy import is_full, is_old, roll_timestamp
from broker.storage.segment import Segment
from broker.storage.segment_scan import DamageFound
from broker.storage.timestamp_search import TimestampedOffset, TimestampSearch
from broker.storage.unflushed import Unflushed
from broker.types import NO_TIMESTAMP, Buffer, TopicPartition

Origin = Literal["client", "coordinator"]
DISK_FULL_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
NEVER = 2**63


class LogAppend(NamedTuple):
    """The outcome of an append. Of a duplicate: where the original is; nothing was written."""

    base_offset: int
    last_offset: int
    log_append_time_ms: int
    """-1 under CreateTime."""
    duplicate: bool
    record_count: int
    byte_count: int
    max_timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatistics:
    log_start_offset: int
    log_end_offset: int
    flushed_offset: int
    size_bytes: int
    segment_count: int
    last_record_ms: int
    producers: int
    offline_reason: str


class Log:
    __slots__ = (
        "_config",
        "_environment",
        "_epochs",
        "_epochs_saved",
        "_health",
        "_latest_epoch",
        "_reader",
        "_roll_timestamp",
        "_search",
        "_segments",
        "_snapshots",
        "_unflushed",
        "directory",
        "flushed_offset",
        "high_watermark",
        "last_record_ms",
        "log_end_offset",
        "log_start_offset",
        "offline_reason",
        "producer_state",
        "size_bytes",
        "topic_partition",
    )

    def __init__(
        self,
        environment: LogEnvironment,
        topic_partition: TopicPartition,
        directory: str,
        config: TopicConfig,
        loaded: LoadedPartition,
    ) -> None:
        self.topic_partition = topic_partition
        self.directory = directory
        self.log_start_offset = loaded.log_start_offset
        self.log_end_offset = self.flushed_offset = loaded.log_end_offset
        self.high_watermark = 0
        """Owned by the partition; the log dir only saves it in ``replication-offset-checkpoint``."""
        self.producer_state = loaded.producers
        self.offline_reason: str | None = None
        self.size_bytes = sum(segment.size for segment in loaded.segments)
        self._environment = environment
        self._health = environment.health
        self._config = config
        self._segments = LogSegments(environment, loaded.segments)
        self._reader = LogReader(environment, self._segments)
        self._search = TimestampSearch(environment, self._segments)
        self._unflushed = Unflushed(environment)
        self._epochs = loaded.epochs
        self._epochs_saved = True
        self._latest_epoch = loaded.epochs.latest
        self._snapshots = loaded.snapshots
        self._roll_timestamp: int | None = None
        """Batches with a larger timestamp start a new segment; ``None``: to be computed."""
        self.last_record_ms = self._segments.active.time_range()[0]
        """Largest record timestamp of the newest segment, and since; -1 if there is none."""

    def __repr__(self) -> str:
        return f"Log({self.topic_partition}, {self.log_start_offset}..{self.log_end_offset})"

    @property
    def config(self) -> TopicConfig:
        return self._config

    @config.setter
    def config(self, config: TopicConfig) -> None:
        self._config = config
        self._roll_timestamp = None

    @property
    def segment_count(self) -> int:
        return len(self._segments)

    @property
    def latest_epoch(self) -> int:
        return self._latest_epoch

    def statistics(self) -> LogStatistics:
        return LogStatistics(
            log_start_offset=self.log_start_offset,
            log_end_offset=self.log_end_offset,
            flushed_offset=self.flushed_offset,
            size_bytes=self.size_bytes,
            segment_count=len(self._segments),
            last_record_ms=self.last_record_ms,
            producers=len(self.producer_state),
            offline_reason=self.offline_reason or "",
        )

    # Append ----------------------------------------------------------------------------------------

    def append_as_leader(
        self, records: Buffer, *, leader_epoch: int, now_ms: int, origin: Origin = "client"
    ) -> LogAppend:
        """Validate, give offsets, write. ``records`` is stamped in place if it may be written to.

        Raises ``KafkaError``; then nothing was written.
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
            batches = ((0, header),)
        else:
            batches = validate_coordinator_batches(records, config)
            for _, header in batches:
                if header.has_producer_id:
                    self.producer_state.check_epoch(header)
        append_time = NO_TIMESTAMP
        if config.message_timestamp_type == "LogAppendTime":
            append_time = now_ms
            records, batches = _with_append_time(records, batches, now_ms)
        first_offset = offset = self.log_end_offset
        newest = NO_TIMESTAMP
        for _, header in batches:
            offset += header[6] + 1
            if header[8] > newest:
                newest = header[8]
        segment = self._segment_for(len(records), offset - 1, newest)
        self._write(segment, _stamped(records, batches, first_offset, leader_epoch), len(records))
        if leader_epoch != self._latest_epoch:
            self._begin_epoch(leader_epoch, first_offset)
        return self._account(segment, batches, first_offset, now_ms, append_time)

    def append_as_follower(self, records: Buffer) -> LogAppend:
        """Write what the leader sent: offsets and epochs stay. Raises ``KafkaError``; then nothing was written."""
        if self._health.failed_reason is not None or self.offline_reason is not None:
            raise self._refusal()
        batches = validate_replicated_batches(records, self.log_end_offset, self._config)
        if not batches:
            return LogAppend(self.log_end_offset, self.log_end_offset - 1, -1, False, 0, 0, NO_TIMESTAMP)
        last = batches[-1][1]
        newest = max(header.max_timestamp for _, header in batches)
        segment = self._segment_for(len(records), last.last_offset, newest)
        self._write(segment, (records,), len(records))
        for _, header in batches:
            if header.leader_epoch > self._latest_epoch:
                self._begin_epoch(header.leader_epoch, header.base_offset)
        return self._account(segment, batches, None, self._environment.clock_wall_ms(), NO_TIMESTAMP)

    def _segment_for(self, size: int, last_offset: int, newest_timestamp: int) -> Segment:
        """The active segment, after a roll if the append would not fit it."""
        segment = self._segments.active
        if not segment.size:
            return segment
        if self._roll_timestamp is None:
            with self._storage_errors():
                due = roll_timestamp(segment, self._config)
            self._roll_timestamp = NEVER if due is None else due
        if newest_timestamp > self._roll_timestamp or is_full(segment, size, last_offset, self._config):
            return self._roll()
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
        if error.errno not in DISK_FULL_ERRNOS and error.errno not in (errno.EMFILE, errno.ENFILE):
            self._health.fail(f"writing {segment.file.path} failed: {error}")
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"Writing to the log failed: {error.strerror or error}")

    def _account(
        self,
        segment: Segment,
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
            self._roll_timestamp = None
        base_offset = first_offset if first_offset is not None else batches[0][1][0]
        next_offset = base_offset
        for _, header in batches:
            start = next_offset if first_offset is not None else header[0]
            next_offset = start + header[6] + 1
            segment.appended(header[1] + LENGTH_PREFIX_SIZE, next_offset - 1, header[8], interval)
            record_count += header[12]
            if header[8] > newest:
                newest = header[8]
            if header[9] >= 0:
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
        self._roll()
        return True

    def _roll(self) -> Segment:
        """Begin a new segment at the log's end. The new file's name becomes durable with the next flush ticket."""
        old = self._segments.active
        segment = self._new_segment(self.log_end_offset)
        self._unflushed.note_directory(self.directory)
        with contextlib.suppress(OSError):  # indexes and snapshots are shortcuts, rebuilt from the log if missing
            old.seal()
            self._unflushed.note_path(old.offset_index.path)
            self._unflushed.note_path(old.time_index.path)
            if self._snapshots.take(self.producer_state, self.log_end_offset, durable=False):
                self._unflushed.note_path(self._snapshots.path(self.log_end_offset))
        self._segments.add(segment)
        self._roll_timestamp = None
        return segment

    def _new_segment(self, base_offset: int) -> Segment:
        gaps_allowed = "compact" in self._config.cleanup_policy
        segment = Segment(self._environment, self.directory, base_offset, gaps_allowed=gaps_allowed)
        with self._storage_errors():
            segment.create()
        return segment

    def _begin_epoch(self, epoch: int, start_offset: int) -> None:
        if self._epochs.assign(epoch, start_offset):
            self._latest_epoch = self._epochs.latest
            self._save_epochs()

    def _save_epochs(self) -> None:
        """The epochs can be learned from the batches again, so a full disk here is no reason to refuse them."""
        path = os.path.join(self.directory, LEADER_EPOCH_FILE)
        self._epochs_saved = False
        with contextlib.suppress(OSError):
            self._environment.filesystem.replace_file(path, self._epochs.encode(), durable=False)
            self._epochs_saved = True
            self._unflushed.note_path(path)
            self._unflushed.note_directory(self.directory)

    # Read ------------------------------------------------------------------------------------------

    def read(self, offset: int, max_bytes: int, *, upto_offset: int, at_least_one: bool = True) -> list[Buffer]:
        """Whole batches from the one that holds ``offset`` on, all below ``upto_offset``; [] at the end.

        With ``at_least_one`` the first batch comes whole even if it is larger than ``max_bytes``. Raises
        ``KafkaError``: OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR.
        """
        if not self.log_start_offset <= offset <= self.log_end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"Received request for offset {offset} for partition {self.topic_partition}, but we only have log "
                f"segments upto {self.log_end_offset}."
                if offset > self.log_end_offset
                else f"Received request for offset {offset} for partition {self.topic_partition}, but the log starts at "
                f"{self.log_start_offset}.",
            )
        if offset >= upto_offset:
            return []
        if self.offline_reason is not None:
            raise self._refusal()
        try:
            return self._reader.read(offset, max_bytes, upto_offset, at_least_one)
        except (DamageFound, OSError) as problem:
            raise self._storage_error(problem) from problem

    def offset_for_timestamp(self, timestamp: int) -> TimestampedOffset | None:
        """The first record with a timestamp at or after ``timestamp``, with its own timestamp and epoch."""
        with self._storage_errors():
            return self._search.first_at_or_after(timestamp, self.log_start_offset)

    def max_timestamp(self) -> TimestampedOffset | None:
        """The record with the largest timestamp; ``None`` if the log is empty."""
        with self._storage_errors():
            return self._search.newest(self.log_start_offset)

    def timestamp_at(self, offset: int) -> int:
        """The timestamp of the record at ``offset`` (or the next one there is); -1 if there is none."""
        if not self.log_start_offset <= offset < self.log_end_offset:
            return NO_TIMESTAMP
        with self._storage_errors():
            return self._search.at(offset)

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """The largest epoch ≤ ``epoch`` and where it ends; (-1, -1) if unknown."""
        return self._epochs.end_offset(epoch, self.log_end_offset)

    def epoch_at(self, offset: int) -> int:
        """The leader epoch that wrote ``offset``; -1 if unknown."""
        return self._epochs.epoch_at(offset)

    def epochs(self) -> list[tuple[int, int]]:
        """Every known (epoch, start offset)."""
        return self._epochs.entries()

    def segments(self) -> list[SegmentInfo]:
        with self._storage_errors():
            return self._segments.inventory()

    # Giving up the beginning -----------------------------------------------------------------------

    def advance_log_start(self, offset: int) -> None:
        """DeleteRecords: nothing below ``offset`` is ever served again; durable when this returns."""
        if offset > self.log_end_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, f"The log ends at offset {self.log_end_offset}.")
        if offset <= self.log_start_offset:
            return
        self._move_log_start(offset)
        self._drop_below(offset)

    def delete_segments_below(self, new_log_start: int) -> tuple[int, int]:
        """Retention: give up the segments that end at or below ``new_log_start``; (segments, bytes) given up.

        The active segment is closed first if it is among them. Raises ``KafkaError``.
        """
        new_log_start = min(new_log_start, self.log_end_offset)
        if self._health.failed_reason is not None or self.offline_reason is not None:
            raise self._refusal()
        active = self._segments.active
        if active.size and active.next_offset <= new_log_start:
            self._roll()
        doomed = self._segments.ending_at_or_below(new_log_start)
        if not doomed:
            return 0, 0
        if doomed[-1].next_offset > self.log_start_offset:
            self._move_log_start(doomed[-1].next_offset)
        return self._drop_below(new_log_start)

    def _move_log_start(self, offset: int) -> None:
        """Durable first, then the files go: deleted offsets never come back, not even after a crash in between."""
        previous, self.log_start_offset = self.log_start_offset, offset
        try:
            self._environment.save_log_starts()
        except OSError as error:
            self.log_start_offset = previous
            raise self._storage_error(error) from error
        if self._epochs.truncate_from_start(offset):
            self._save_epochs()

    def _drop_below(self, offset: int) -> tuple[int, int]:
        doomed = self._segments.ending_at_or_below(offset)
        if not doomed:
            return 0, 0
        self._unflushed.discard(doomed)
        with self._storage_errors():
            given_up = self._segments.discard(doomed, self._unlink_due_ms())
            for segment in doomed:
                self._snapshots.remove(segment.base_offset)
        self.size_bytes -= given_up
        return len(doomed), given_up

    def _unlink_due_ms(self) -> int:
        return self._environment.clock_wall_ms() + self._config.file_delete_delay_ms

    # Truncation ------------------------------------------------------------------------------------

    def truncate_to(self, offset: int) -> None:
        """Give up everything from the batch that holds ``offset`` on, as a follower told so by its leader's epochs.

        The recovery point is lowered durably first: a crash in the middle must find a torn tail, not damage.
        """
        if offset >= self.log_end_offset:
            return
        with self._storage_errors(final=True):
            segment = self._segments.containing(max(offset, self.log_start_offset))
            position = segment.find(offset)
            found = next(segment.headers(position), None)
            end_offset = found[1].base_offset if found is not None else segment.next_offset
            if end_offset < self.log_start_offset:
                self.restart_at(self.log_start_offset)
                return
            self._lower_recovery_point(end_offset)
            self._cut(segment, position, end_offset)
            self._forget_from(end_offset)

    def restart_at(self, offset: int) -> None:
        """Give up the whole log and begin anew at ``offset``: a follower that fell behind its leader's log start.

        The new start is durable before the files go, so a crash in between finds records that were deleted, not a log
        whose beginning is missing.
        """
        with self._storage_errors(final=True):
            self._lower_recovery_point(min(self.log_start_offset, offset))
            self.log_start_offset = offset
            self._environment.save_log_starts()
            doomed = list(reversed(self._segments.all()))
            self._unflushed.discard(doomed)
            for segment in doomed:
                self._segments.retire(segment, self._unlink_due_ms())
            self._segments.replace_all(self._new_segment(offset))
            self._environment.filesystem.sync_directory(self.directory)
            self.flushed_offset = offset
            if self._epochs.entries():
                self._epochs.clear()
                self._latest_epoch = self._epochs.latest
                self._save_epochs()
            self._forget_from(offset)

    def _lower_recovery_point(self, offset: int) -> None:
        self._unflushed.truncated()
        if offset < self.flushed_offset:
            self.flushed_offset = offset
            self._environment.save_recovery_points()

    def _cut(self, segment: Segment, position: int, end_offset: int) -> None:
        doomed = list(reversed(self._segments.starting_above(segment.base_offset)))
        if doomed:
            self._unflushed.discard(doomed)
            self._segments.discard(doomed, self._unlink_due_ms())
            self._environment.filesystem.sync_directory(self.directory)
        segment.truncate(position, end_offset)
        if not segment.dirty:
            self._unflushed.note_segment(segment)

    def _forget_from(self, end_offset: int) -> None:
        """Bring everything that is derived from the log back to its new end."""
        self.log_end_offset = end_offset
        self.size_bytes = sum(segment.size for segment in self._segments.all())
        self.last_record_ms = self._segments.active.time_range()[0]
        self._roll_timestamp = None
        self._reader.forget()
        if self._epochs.truncate_from_end(end_offset):
            self._latest_epoch = self._epochs.latest
            self._save_epochs()
        self._snapshots.remove_above(end_offset)
        found = self._snapshots.load_newest(self.producer_state, self.log_start_offset, end_offset)
        start = self.log_start_offset if found is None else found
        replay_producers(self._segments.all(), self.producer_state, start, self._environment.clock_wall_ms())

    # Durability ------------------------------------------------------------------------------------

    def note_created(self, paths: Sequence[str], directories: Sequence[str]) -> None:
        """The log dir made these for this log; the first flush ticket makes them durable."""
        for path in paths:
            self._unflushed.note_path(path)
        for directory in directories:
            self._unflushed.note_directory(directory)

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
            self._health.fail(f"fsync in {self.directory} failed: {ticket.error}")
            raise self._health.error()
        if is_current and ticket.end_offset > self.flushed_offset:
            self.flushed_offset = ticket.end_offset

    def save_shortcuts(self) -> None:
        """Write the index entries that are only in memory, and the epochs if that failed before. ``OSError``."""
        self._segments.active.flush_indexes()
        if not self._epochs_saved:
            self._save_epochs()

    def close(self, *, clean: bool) -> None:
        """Release every file. ``clean``: first make all of it durable, snapshot included. Raises ``KafkaError``."""
        try:
            if clean and self.offline_reason is None:
                self._settle_everything()
        finally:
            for segment in self._segments.all():
                segment.close()

    def _settle_everything(self) -> None:
        with self._storage_errors():
            active = self._segments.active
            active.complete_time_index()
            self.save_shortcuts()
            if active.size:
                self._unflushed.note_path(active.offset_index.path)
                self._unflushed.note_path(active.time_index.path)
            if self.log_end_offset > 0 and self._snapshots.take(
                self.producer_state, self.log_end_offset, durable=False
            ):
                self._unflushed.note_path(self._snapshots.path(self.log_end_offset))
                self._unflushed.note_directory(self.directory)
        ticket = self.flush_ticket()
        if ticket is not None:
            with contextlib.suppress(OSError):  # judged by ``flushed``
                ticket.run()
            self.flushed(ticket)

    # Failure ---------------------------------------------------------------------------------------

    def _refusal(self) -> KafkaError:
        if self._health.failed_reason is not None:
            return self._health.error()
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The partition is offline: {self.offline_reason}")

    def _storage_error(self, problem: DamageFound | OSError) -> KafkaError:
        """Bytes that are not what was written take the partition offline; an I/O error is this call's alone, except
        that a later fsync will tell."""
        if isinstance(problem, DamageFound):
            if self.offline_reason is None:
                self._go_offline(str(problem))
            return self._refusal()
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"The disk did not answer: {problem.strerror or problem}")

    def _go_offline(self, reason: str) -> None:
        self.offline_reason = reason
        self._environment.partition_damaged(self.topic_partition, reason)

    @contextlib.contextmanager
    def _storage_errors(self, *, final: bool = False) -> Iterator[None]:
        """``final``: what fails halfway leaves memory and disk apart, so only opening the log again may go on."""
        try:
            yield
        except (DamageFound, OSError) as problem:
            error = self._storage_error(problem)
            if final and self.offline_reason is None:
                self._go_offline(error.message)
            raise error from problem


def _original(duplicate: ProducerBatch, config: TopicConfig) -> LogAppend:
    append_time = duplicate.timestamp_ms if config.message_timestamp_type == "LogAppendTime" else NO_TIMESTAMP
    return LogAppend(duplicate.base_offset, duplicate.last_offset, append_time, True, 0, 0, duplicate.timestamp_ms)


def _stamped(
    records: Buffer, batches: Sequence[tuple[int, BatchHeader]], offset: int, leader_epoch: int
) -> Sequence[Buffer]:
    """The bytes to write, each batch carrying its place: in place where that is allowed, else beside the rest."""
    if isinstance(records, bytearray) or (isinstance(records, memoryview) and not records.readonly):
        for position, header in batches:
            stamp(records, position, offset, leader_epoch)
            offset += header[6] + 1
        return (records,)
    if len(batches) == 1:
        prefix = stamped_prefix(records, 0, offset, leader_epoch)
        return (prefix, memoryview(records)[len(prefix) :])
    return _stamped(bytearray(records), batches, offset, leader_epoch)


def _with_append_time(
    records: Buffer, batches: Sequence[tuple[int, BatchHeader]], now_ms: int
) -> tuple[Buffer, list[tuple[int, BatchHeader]]]:
    """Rewrite every batch to LogAppendTime; a buffer that may not be written to is copied."""
    if isinstance(records, bytes) or (isinstance(records, memoryview) and records.readonly):
        records = bytearray(records)
    for position, _ in batches:
        set_log_append_time(records, position, now_ms)
    return records, [(position, header._replace(max_timestamp=now_ms)) for position, header in batches]
