"""The ordered segments of one log.

Owns: which segment holds an offset, and giving up files. The last segment is the active one.

What must stay true: base offsets strictly increase, and each segment ends where the next one begins.
"""

from __future__ import annotations

from bisect import bisect_right

from broker.protocol.private import SegmentInfo
from broker.storage.deletions import DELETED_SUFFIX
from broker.storage.environment import LogEnvironment
from broker.storage.segment import Segment
from broker.storage.segment_scan import DamageFound
from broker.types import NO_TIMESTAMP, TimestampMs


class LogSegments:
    __slots__ = ("_bases", "_environment", "_segments", "active")

    def __init__(self, environment: LogEnvironment, segments: list[Segment]) -> None:
        assert segments
        self._environment = environment
        self._segments = segments
        self._bases = [segment.base_offset for segment in segments]
        self.active = segments[-1]

    def __len__(self) -> int:
        return len(self._segments)

    @property
    def first(self) -> Segment:
        return self._segments[0]

    def all(self) -> list[Segment]:
        return list(self._segments)

    def last_record_ms(self) -> TimestampMs:
        """Largest timestamp of the newest segment that holds records: the active one is empty just after a roll."""
        newest = self.active.time_range()[0]
        if newest >= 0 or len(self._segments) == 1:
            return newest
        try:
            return self._segments[-2].time_range()[0]
        except DamageFound:
            # Whoever reads it will be told; a log whose newest record's time is not known can still be opened.
            return NO_TIMESTAMP

    def containing(self, offset: int) -> Segment:
        """The segment that holds ``offset``; the first or the active one for offsets outside."""
        active = self.active
        if offset >= active.base_offset:
            return active
        return self._segments[max(0, bisect_right(self._bases, offset) - 1)]

    def after(self, segment: Segment) -> Segment | None:
        index = bisect_right(self._bases, segment.base_offset)
        return self._segments[index] if index < len(self._segments) else None

    def add(self, segment: Segment) -> None:
        assert segment.base_offset > self.active.base_offset
        self._segments.append(segment)
        self._bases.append(segment.base_offset)
        self.active = segment

    def replace(self, old: list[Segment], fresh: Segment) -> None:
        """``fresh`` takes the place of closed segments that follow each other; their files were given up."""
        first = self._segments.index(old[0])
        assert self._segments[first : first + len(old)] == old, "segments in a row"
        assert old[-1] is not self.active, "the active segment is never replaced"
        self._segments[first : first + len(old)] = [fresh]
        self._bases[first : first + len(old)] = [fresh.base_offset]

    def replace_all(self, segment: Segment) -> None:
        """Start over with one empty segment; the others were discarded."""
        self._segments, self._bases, self.active = [segment], [segment.base_offset], segment

    def ending_at_or_below(self, offset: int) -> list[Segment]:
        """The closed segments that hold nothing at or above ``offset``."""
        return [segment for segment in self._segments[:-1] if segment.next_offset <= offset]

    def starting_above(self, offset: int) -> list[Segment]:
        return self._segments[bisect_right(self._bases, offset) :]

    def discard(self, segments: list[Segment], due_ms: int) -> int:
        """Take a prefix or a suffix out of the log: renamed now, unlinked when due. Returns the bytes given up.

        Newest first when it is a suffix, oldest first when it is a prefix, so that a crash between two renames leaves
        no hole. Raises ``OSError``.
        """
        given_up = 0
        for segment in segments:
            given_up += segment.size
            self.retire(segment, due_ms)
            index = self._segments.index(segment)
            del self._segments[index]
            del self._bases[index]
        if self._segments:
            self.active = self._segments[-1]
        return given_up

    def retire(self, segment: Segment, due_ms: int, *, log_last: bool = False) -> None:
        """Rename its files away. ``log_last``: as long as the log has its name, the others may still have theirs."""
        environment = self._environment
        segment.close()
        paths = segment.paths()
        for path in reversed(paths) if log_last else paths:
            if environment.filesystem.status(path) is not None:
                environment.filesystem.rename(path, path + DELETED_SUFFIX)
                environment.deletions.schedule(path + DELETED_SUFFIX, due_ms)

    def inventory(self, *, first_timestamps: bool = False) -> list[SegmentInfo]:
        """``first_timestamps`` reads one batch header of every segment that was found on disk, once."""
        filesystem = self._environment.filesystem
        found = []
        for segment in self._segments:
            status = filesystem.status(segment.file.path)
            found.append(
                SegmentInfo(
                    base_offset=segment.base_offset,
                    end_offset=segment.next_offset,
                    size_bytes=segment.size,
                    max_timestamp_ms=segment.time_range()[0],
                    last_modified_ms=status.modified_ms if status else -1,
                    active=segment is self.active,
                    first_timestamp_ms=_first_timestamp(segment) if first_timestamps else NO_TIMESTAMP,
                )
            )
        return found


def _first_timestamp(segment: Segment) -> int:
    """Damage found on the way is for readers to hit and recovery to judge; an inventory only leaves the time out."""
    try:
        return segment.first_timestamp()
    except DamageFound:
        return NO_TIMESTAMP
