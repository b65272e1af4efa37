"""Reading the batches of a closed segment, each one checked before anybody believes it.

Owns: the buffer a batch is cut from, and the first look over a whole log. A compaction decides from what it reads what
may be thrown away, so every byte of the range is verified before the first segment is replaced: a damaged log is left
exactly as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from broker.compaction.cleaning import add_to_map, marker_of
from broker.compaction.offset_map import OffsetMap
from broker.compaction.transactions import AbortedTransaction, Marker, TransactionFilter, TransactionSurvey
from broker.protocol.batch import BATCH_LENGTH_MIN, HEADER, HEADER_SIZE, MAGIC, BatchHeader, crc_is_valid
from broker.protocol.private import SegmentInfo
from broker.storage.filesystem import FileSystem
from broker.storage.segment import LOG_SUFFIX, segment_path
from broker.storage.segment_scan import DamageFound

Moved = Callable[[int], None]
"""Told how many bytes were read or written: waits if that was too fast, raises to stop the work."""


@dataclass(frozen=True, slots=True)
class SegmentReader:
    filesystem: FileSystem
    directory: str
    buffer_bytes: int
    moved: Moved

    def batches(self, segment: SegmentInfo) -> Iterator[tuple[BatchHeader, memoryview, Marker | None]]:
        """Header, bytes and marker of each batch. Raises ``DamageFound``, ``KafkaError`` and ``OSError``."""
        fd = self.filesystem.open(segment_path(self.directory, segment.base_offset, LOG_SUFFIX))
        try:
            expected = segment.base_offset
            for header, whole in self._cut(fd, segment):
                if header.base_offset < expected or header.last_offset_delta < 0:
                    raise DamageFound(0, expected, f"offset {header.base_offset} is not one that follows")
                expected = header.next_offset
                yield header, whole, marker_of(header, whole)
            if expected != segment.end_offset:
                raise DamageFound(
                    segment.size_bytes, expected, f"the segment should end at offset {segment.end_offset}"
                )
        finally:
            self.filesystem.close(fd)

    def _cut(self, fd: int, segment: SegmentInfo) -> Iterator[tuple[BatchHeader, memoryview]]:
        position, size = 0, segment.size_bytes
        chunk, at = memoryview(b""), 0
        while position < size:
            if at + HEADER_SIZE > len(chunk):
                chunk, at = self._read(fd, position, size, HEADER_SIZE), 0
            header = BatchHeader._make(HEADER.unpack_from(chunk, at))
            if (
                header.magic != MAGIC
                or header.batch_length < BATCH_LENGTH_MIN
                or position + header.size > segment.size_bytes
            ):
                raise DamageFound(position, segment.base_offset, "no whole batch starts here")
            if at + header.size > len(chunk):
                chunk, at = self._read(fd, position, size, header.size), 0
            whole = chunk[at : at + header.size]
            if not crc_is_valid(whole, 0, header.size):
                raise DamageFound(position, header.base_offset, "the CRC does not match")
            yield header, whole
            at += header.size
            position += header.size

    def _read(self, fd: int, position: int, size: int, wanted: int) -> memoryview:
        data = self.filesystem.pread(fd, min(size - position, max(self.buffer_bytes, wanted)), position)
        self.moved(len(data))
        if len(data) < wanted:
            raise DamageFound(position + len(data), 0, "the file is shorter than it was")
        return memoryview(data)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What the first look over the log has found."""

    aborted: tuple[AbortedTransaction, ...]
    end_offset: int
    """From here on compaction has to wait: a transaction that begins here had not ended yet, or the map is full."""
    offsets: OffsetMap
    is_complete: bool
    """False: the map was full before the end, so another pass is needed behind ``end_offset``."""


def survey(
    reader: SegmentReader, segments: Iterable[SegmentInfo], offsets: OffsetMap, first_dirty: int, end_offset: int
) -> Surveyed:
    """Verify every batch, learn how the transactions ended, and build the map of the dirty part.

    Without transactions in the dirty part one look is enough; with them a second one knows which batches do not count.
    """
    segments = list(segments)
    transactions = TransactionSurvey()
    dirty_transactions = False
    offsets.latest_offset = first_dirty - 1
    room = True
    for segment in segments:
        for header, whole, marker in reader.batches(segment):
            transactions.batch(header, marker)
            if header.last_offset < first_dirty:
                continue
            dirty_transactions |= header.is_transactional
            if room and not dirty_transactions:
                room = _add(offsets, header, whole, first_dirty)
    undecided = transactions.first_undecided()
    reach = end_offset if undecided is None else min(end_offset, undecided)
    aborted = tuple(transactions.aborted)
    if dirty_transactions:
        offsets.clear(first_dirty - 1)
        room = _map_committed(reader, segments, offsets, first_dirty, reach, TransactionFilter(aborted))
    if room:
        offsets.latest_offset = max(offsets.latest_offset, reach - 1)
    return Surveyed(aborted, reach if room else offsets.latest_offset + 1, offsets, room)


def _map_committed(
    reader: SegmentReader,
    segments: Iterable[SegmentInfo],
    offsets: OffsetMap,
    first_dirty: int,
    end_offset: int,
    ended: TransactionFilter,
) -> bool:
    for segment in segments:
        for header, whole, marker in reader.batches(segment):
            if header.base_offset >= end_offset:
                return True
            is_aborted = ended.may_drop(header, marker) and not header.is_control
            if header.last_offset < first_dirty:
                continue
            if is_aborted:
                offsets.latest_offset = header.last_offset
            elif not _add(offsets, header, whole, first_dirty):
                return False
    return True


def _add(offsets: OffsetMap, header: BatchHeader, whole: memoryview, first_dirty: int) -> bool:
    if header.is_control:
        offsets.latest_offset = header.last_offset
        return True
    return add_to_map(offsets, header, whole, first_dirty)
