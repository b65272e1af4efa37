"""Finding records by timestamp: the one place where storage looks inside a batch.

Owns: ListOffsets by time, the newest record, and the timestamp at an offset. Segments, then the time index, then
batch headers narrow the search to one batch; only that one is opened. The codec is imported on first use: a broker
that is never asked does not carry it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from broker.protocol.batch import DELETE_HORIZON, BatchHeader
from broker.storage.environment import LogEnvironment
from broker.storage.log_segments import LogSegments
from broker.storage.segment import Segment
from broker.storage.segment_scan import DamageFound
from broker.storage.sparse_index import IndexDamaged
from broker.types import NO_TIMESTAMP

SPAN_TOLERATED_MS = 250


class TimestampedOffset(NamedTuple):
    offset: int
    timestamp: int
    leader_epoch: int


class TimestampSearch:
    __slots__ = ("_environment", "_segments")

    def __init__(self, environment: LogEnvironment, segments: LogSegments) -> None:
        self._environment = environment
        self._segments = segments

    def first_at_or_after(self, timestamp: int, start_offset: int) -> TimestampedOffset | None:
        """The first record at or above ``start_offset`` whose timestamp is not below ``timestamp``."""
        for segment in self._segments.all():
            if segment.next_offset <= start_offset or segment.time_range()[0] < timestamp:
                continue
            for position, header in segment.headers(self._first_position(segment, timestamp)):
                if header.max_timestamp < timestamp or header.last_offset < start_offset:
                    continue
                for offset, found in self._timestamps(segment, position, header):
                    if found >= timestamp and offset >= start_offset:
                        return TimestampedOffset(offset, found, header.leader_epoch)
        return None

    def newest(self, start_offset: int) -> TimestampedOffset | None:
        """The first record with the largest timestamp of the log."""
        best: Segment | None = None
        for segment in self._segments.all():
            if segment.next_offset <= start_offset or not segment.size:
                continue
            if best is None or segment.time_range()[0] > best.time_range()[0]:
                best = segment
        if best is None or best.time_range()[0] < 0:
            return None
        found = self.first_at_or_after(best.time_range()[0], max(start_offset, best.base_offset))
        return self._newest_left(start_offset) if found is None else found

    def _newest_left(self, start_offset: int) -> TimestampedOffset | None:
        """The record that had the largest timestamp is gone: compaction emptied its batch and kept it for its producer's
        sequence, or DeleteRecords cut the log in the middle of its batch, whose header still tells of it."""
        newest = NO_TIMESTAMP
        for segment in self._segments.all():
            if segment.next_offset <= start_offset:
                continue
            for position, header in segment.headers():
                if not header.record_count or header.last_offset < start_offset:
                    continue
                if header.base_offset >= start_offset:
                    newest = max(newest, header.max_timestamp)
                else:
                    times = self._timestamps(segment, position, header)
                    newest = max([newest, *(timestamp for offset, timestamp in times if offset >= start_offset)])
        return None if newest < 0 else self.first_at_or_after(newest, start_offset)

    def at(self, offset: int) -> int:
        """The timestamp of the first record at or above ``offset``; -1 if there is none.

        Asked once a second for every lagging group, so a batch is opened only if its timestamps span more than
        ``SPAN_TOLERATED_MS``; within that the time of its first record stands for all.
        """
        segment: Segment | None = self._segments.containing(offset)
        while segment is not None:
            for position, header in segment.headers(segment.find(offset)):
                if header.last_offset < offset or not header.record_count:
                    continue
                if header.is_log_append_time:
                    return header.max_timestamp
                if header.attributes & DELETE_HORIZON:
                    return header.max_timestamp  # the base timestamp is none of a record
                if header.base_offset >= offset or header.max_timestamp - header.base_timestamp <= SPAN_TOLERATED_MS:
                    return header.base_timestamp
                for found, timestamp in self._timestamps(segment, position, header):
                    if found >= offset:
                        return timestamp
            segment = self._segments.after(segment)
        return NO_TIMESTAMP

    def _first_position(self, segment: Segment, timestamp: int) -> int:
        """A position no record from ``timestamp`` on lies before."""
        try:
            return segment.find(segment.time_index.before_timestamp(timestamp).offset)
        except IndexDamaged:
            segment.rebuild_indexes()
            return segment.find(segment.time_index.before_timestamp(timestamp).offset)

    def _timestamps(self, segment: Segment, position: int, header: BatchHeader) -> Iterator[tuple[int, int]]:
        """Offset and timestamp of each record of one batch."""
        if header.is_log_append_time and header.record_count == header.last_offset_delta + 1:
            for offset in range(header.base_offset, header.next_offset):
                yield offset, header.max_timestamp
            return
        fd = self._environment.files.use(segment.file)
        batch = self._environment.filesystem.pread(fd, header.size, position)
        if len(batch) != header.size:
            raise DamageFound(position, header.base_offset, "the file is shorter than it was")
        segment.verify(batch, position, header.base_offset)
        from broker.protocol.records import iter_records

        for record in iter_records(batch):
            yield record.offset, record.timestamp
