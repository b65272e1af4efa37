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
import os
from collections.abc import Sequence

from broker.errors import ErrorCode, KafkaError
from broker.protocol.private import SegmentInfo
from broker.storage.checkpoints import INCOMPLETE_FILE
from broker.storage.flush_ticket import FlushTicket
from broker.storage.log_compaction import CompactableLog
from broker.storage.log_state import LogAppend, LogStatistics
from broker.storage.producer_replay import recall_unreplicated, replay_producers
from broker.storage.recent_batches import recall_recent_batches
from broker.storage.segment import Segment
from broker.storage.segment_scan import DamageFound
from broker.storage.timestamp_search import TimestampedOffset
from broker.types import NO_TIMESTAMP, Buffer

__all__ = ["FlushTicket", "Log", "LogAppend", "LogStatistics"]


class Log(CompactableLog):
    __slots__ = ()

    # Read ------------------------------------------------------------------------------------------

    def read(
        self,
        offset: int,
        max_bytes: int,
        *,
        upto_offset: int,
        at_least_one: bool = True,
        empty_alone: bool = False,
    ) -> list[Buffer]:
        """Whole batches from the one that holds ``offset`` on, all below ``upto_offset``; [] at the end.

        With ``at_least_one`` the first batch comes whole even if it is larger than ``max_bytes``. A copy of the log needs
        ``empty_alone``: batches that compaction has emptied, also where nothing else is to be read. Raises
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
            return self._reader.read(offset, max_bytes, upto_offset, at_least_one, empty_alone)
        except (DamageFound, OSError) as problem:
            raise self._storage_error(problem) from problem

    def aborted_transactions(self, offset: int, records: Sequence[Buffer]) -> tuple[tuple[int, int], ...]:
        """(producer id, first offset) of each aborted transaction that reaches into ``records``, read from ``offset``."""
        with self._storage_errors():
            return self._aborted.overlapping(offset, records)

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

    def segments(self, *, first_timestamps: bool = False) -> list[SegmentInfo]:
        with self._storage_errors():
            return self._segments.inventory(first_timestamps=first_timestamps)

    # Giving up the beginning -----------------------------------------------------------------------

    def advance_log_start(self, offset: int) -> None:
        """DeleteRecords: nothing below ``offset`` is ever served again; durable when this returns."""
        self._refuse_if_unwell()
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
        self._refuse_if_unwell()
        active = self._segments.active
        if active.size and active.next_offset <= new_log_start:
            self._roll(self.log_end_offset)
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
            self._epochs_saved = False

    def _drop_below(self, offset: int) -> tuple[int, int]:
        doomed = self._segments.ending_at_or_below(offset)
        if not doomed:
            return 0, 0
        self._unflushed.discard(doomed)
        with self._storage_errors():
            given_up = self._segments.discard(doomed, self._unlink_due_ms())
            for segment in doomed:
                self._snapshots.remove(segment.base_offset)
            self._aborted.segments_changed()
        self.size_bytes -= given_up
        return len(doomed), given_up

    def _unlink_due_ms(self) -> int:
        return self._environment.clock_wall_ms() + self._config.file_delete_delay_ms

    # Truncation ------------------------------------------------------------------------------------

    def truncate_to(self, offset: int) -> None:
        """Give up everything from the batch that holds ``offset`` on, as a follower told so by its leader's epochs.

        The recovery point is lowered durably first: a crash in the middle must find a torn tail, not damage.
        """
        self._refuse_if_unwell()
        if offset >= self.log_end_offset:
            return
        with self._storage_errors(final=True):
            segment = self._segments.containing(max(offset, self.log_start_offset))
            position = segment.find(offset)
            found = next(segment.headers(position), None)
            end_offset = found[1].base_offset if found is not None else segment.next_offset
            if end_offset > offset:
                # Compaction took what was there. Only the end of a batch is found again after a restart.
                end_offset = segment.end_before(position)
            if end_offset < self.log_start_offset:
                self.restart_at(self.log_start_offset)
                return
            self._lower_first_dirty(end_offset)
            self._lower_recovery_point(end_offset)
            self._cut(segment, position, end_offset)
            self._forget_from(end_offset)

    def restart_at(self, offset: int) -> None:
        """Give up the whole log and begin anew at ``offset``: a follower that fell behind its leader's log start.

        The new start is durable before the files go, so a crash in between finds records that were deleted, not a log
        whose beginning is missing.
        """
        self._refuse_if_unwell()
        with self._storage_errors(final=True):
            self._lower_first_dirty(min(self.log_start_offset, offset))
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
                self._epochs_saved = False
            self._forget_from(offset)

    def note_complete(self) -> None:
        """A log that was begun anew has all that its leader has committed. Raises ``KafkaError``."""
        with self._storage_errors():
            self._environment.filesystem.unlink(os.path.join(self.directory, INCOMPLETE_FILE))
        self.incomplete_reason = ""

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
        self._environment.filesystem.datasync(self._environment.files.use(segment.file))

    def _forget_from(self, end_offset: int) -> None:
        """Bring everything that is derived from the log back to its new end."""
        self.log_end_offset = end_offset
        self.size_bytes = sum(segment.size for segment in self._segments.all())
        self.last_record_ms = self._segments.last_record_ms()
        self._roll_timestamp = None
        self._reader.forget()
        if self._epochs.truncate_from_end(end_offset):
            self._latest_epoch = self._epochs.latest
            self._epochs_saved = False
        self._aborted.segments_changed()
        self._snapshots.remove_above(end_offset)
        found = self._snapshots.load_newest(self.producer_state, self.log_start_offset, end_offset)
        start = self.log_start_offset if found is None else found
        segments, now_ms = self._segments.all(), self._environment.clock_wall_ms()
        recall_unreplicated(
            segments,
            self.producer_state,
            start,
            self._snapshots,
            log_start=self.log_start_offset,
            high_watermark=self.high_watermark,
            now_ms=now_ms,
        )
        if found is not None:
            recall_recent_batches(segments, self.producer_state, found)
        replay_producers(segments, self.producer_state, start, now_ms)

    # Closing ------------------------------------------------------------------------------------------

    def save_shortcuts(self) -> bool:
        """Write the index entries that are only in memory; whether there were any. Raises ``OSError``."""
        return self._segments.active.flush_indexes()

    def close(self, *, clean: bool) -> None:
        """Release every file. ``clean``: first make all of it durable, snapshot included. Raises ``KafkaError``."""
        try:
            if clean and self.offline_reason is None:
                self._settle_everything()
        finally:
            for segment in self._segments.all():
                segment.close()

    def _settle_everything(self) -> None:
        """Nothing is scanned after a clean stop, so what a scan would teach must be durable. Indexes and the snapshot
        need not be: one that was lost is missed and made again."""
        with self._storage_errors():
            self._segments.active.complete_time_index()
            self.save_shortcuts()
            self._save_epochs()
            self._save_aborted()
            if self.log_end_offset > 0:
                self._snapshots.take(self.producer_state, self.log_end_offset, durable=False)
        ticket = self.flush_ticket()
        if ticket is not None:
            with contextlib.suppress(OSError):  # judged by ``flushed``
                ticket.run()
            self.flushed(ticket)
        if self._unflushed or self.flushed_offset < self.log_end_offset:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "Not everything was flushed.")
