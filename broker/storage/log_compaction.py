"""A log whose closed segments are replaced by cleaned ones.

Owns: ``CompactableLog``, the part of ``Log`` that compaction changes: the swap itself, how far the log has been
compacted, and what a truncation means for both. Everything here happens in one turn of the event loop, so a reader
finds either the old segments or the new one.

What must stay true:
    a swap changes neither the log's start, nor its end, nor where any other segment begins
    ``first_dirty_offset`` is lowered durably before anything below it can be written anew
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from broker.errors import ErrorCode, KafkaError
from broker.protocol.private import ReplacedSegment
from broker.storage.cleaned_segment import CleanedFacts
from broker.storage.log_append import AppendableLog
from broker.storage.segment import Segment
from broker.storage.segment_swap import commit, take_place


class CompactableLog(AppendableLog):
    __slots__ = ()

    @property
    def decided_offset(self) -> int:
        """What is closed and durable. The partition knows how much of it is committed and stable."""
        return min(self.flushed_offset, self._segments.active.base_offset)

    def refuse_replacement(self, replaced: Sequence[ReplacedSegment], decided_offset: int) -> None:
        """Raise ``KafkaError`` unless these are, to the byte, closed segments in a row that may be replaced now."""
        self._refuse_if_unwell()
        if not replaced:
            raise _stale("no segment is named")
        if replaced[-1].end_offset > min(self.decided_offset, decided_offset):
            raise _stale(f"offset {replaced[-1].end_offset} is not decided yet")
        live = {segment.base_offset: segment for segment in self._segments.all()[:-1]}
        expected = replaced[0].base_offset
        for told in replaced:
            segment = live.get(told.base_offset)
            if segment is None:
                raise _stale(f"the segment at offset {told.base_offset} is gone")
            if told.base_offset != expected:
                raise _stale(f"the segment at offset {told.base_offset} does not follow the one before it")
            if (segment.next_offset, segment.size) != (told.end_offset, told.size_bytes):
                raise _stale(f"the segment at offset {told.base_offset} has changed")
            following = self._segments.after(segment)
            expected = segment.next_offset if following is None else following.base_offset

    def replace_segments(
        self, replaced: Sequence[ReplacedSegment], cleaned: CleanedFacts, token: str, decided_offset: int
    ) -> None:
        """Put the cleaned segment, which was checked and is durable, in the place of ``replaced``.

        Raises ``KafkaError``: refused, and nothing has changed; or KAFKA_STORAGE_ERROR. A disk that fails after the commit
        takes the partition offline until the next start, which completes the swap. The last sync of the directory is the
        caller's: the commit is durable already.
        """
        self.refuse_replacement(replaced, decided_offset)
        base = replaced[0].base_offset
        if cleaned.end_offset != replaced[-1].end_offset or cleaned.size_bytes <= 0:
            raise _stale(f"the cleaned segment ends at offset {cleaned.end_offset}, not {replaced[-1].end_offset}")
        filesystem = self._environment.filesystem
        old = [self._segments.containing(told.base_offset) for told in replaced]
        with self._storage_errors():
            commit(filesystem, self.directory, base, token)
        with self._storage_errors(final=True):
            filesystem.sync_directory(self.directory)
            due_ms = self._environment.clock_wall_ms() + self._config.file_delete_delay_ms
            for segment in (*old[1:], old[0]):
                self._segments.retire(segment, due_ms, log_last=True)
            take_place(filesystem, self.directory, base)
            fresh = Segment(self._environment, self.directory, base, cleaned.size_bytes, gaps_allowed=True)
            fresh.look_at_tail(self._config.index_interval_bytes + 2 * self._config.max_message_bytes)
            fresh.unverified_start = fresh.size
            if filesystem.status(fresh.transaction_index_path) is not None:
                fresh.begin_aborted(None)
        self._unflushed.discard(old)
        self._segments.replace(old, fresh)
        self._reader.forget()
        for segment in old[1:]:
            self._snapshots.remove(segment.base_offset)
        self.size_bytes += fresh.size - sum(segment.size for segment in old)
        self._aborted.segments_changed()
        with contextlib.suppress(OSError):  # a start finds that they differ, and makes the index anew
            self._save_aborted()

    def _lower_first_dirty(self, offset: int) -> None:
        """The log is about to be cut: what is written there instead was never compacted. Raises ``OSError``."""
        self.truncations += 1
        if self.first_dirty_offset is not None and self.first_dirty_offset > offset:
            self.first_dirty_offset = offset
            self._environment.save_cleaner_offsets()


def _stale(reason: str) -> KafkaError:
    return KafkaError(ErrorCode.OPERATION_NOT_ATTEMPTED, f"The log is not as it was read: {reason}.")
