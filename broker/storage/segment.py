"""One segment: a run of batches in one ``.log`` file and the indexes beside it.

Owns: positions. It knows where a batch starts, how far the file goes, and which part of it was checked. The log
decides what is appended and when to roll.

What must stay true: ``size`` bytes of whole batches, whose offsets lie in ``[base_offset, next_offset)``. Bytes
written by this process were checked before they were written; bytes found at start-up are checked when they are
first read, so a bit flip on disk is never served.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from broker.protocol.batch import (
    BATCH_LENGTH_MIN,
    HEADER,
    HEADER_SIZE,
    LENGTH_PREFIX_SIZE,
    MAGIC,
    BatchHeader,
    crc_is_valid,
)
from broker.storage.environment import LogEnvironment
from broker.storage.offset_index import IndexEntry, OffsetIndex
from broker.storage.open_files import LogFile
from broker.storage.segment_scan import DamageFound, scan_checked, scan_headers
from broker.storage.sparse_index import IndexDamaged
from broker.storage.time_index import TimeIndex
from broker.storage.transaction_index import Fingerprint, TransactionIndex
from broker.types import NO_TIMESTAMP, Buffer

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
TRANSACTION_INDEX_SUFFIX = ".txnindex"

SEGMENT_BYTES_MAX = 2**31 - 1
RELATIVE_OFFSET_MAX = 2**31 - 1
REBUILT_INTERVAL_BYTES = 4096
"""Distance of entries in an index rebuilt while the log is in use."""


def segment_path(directory: str, base_offset: int, suffix: str) -> str:
    return os.path.join(directory, f"{base_offset:020d}{suffix}")


class Segment:
    __slots__ = (
        "_environment",
        "_first_timestamp",
        "_time_range_known",
        "aborted",
        "base_offset",
        "bytes_since_index",
        "created_ms",
        "directory",
        "dirty",
        "file",
        "gaps_allowed",
        "max_timestamp",
        "max_timestamp_offset",
        "next_offset",
        "offset_index",
        "size",
        "time_index",
        "unverified_end",
        "unverified_start",
    )

    def __init__(
        self,
        environment: LogEnvironment,
        directory: str,
        base_offset: int,
        size: int = 0,
        *,
        gaps_allowed: bool = False,
    ) -> None:
        """``size`` > 0: a file found on disk. Its ``next_offset`` is unknown until the log has looked or been told."""
        self._environment = environment
        self.directory = directory
        self.base_offset = base_offset
        self.size = size
        self.gaps_allowed = gaps_allowed
        """Compaction may have taken batches out. Otherwise a missing offset is damage."""
        self.next_offset = base_offset
        self.file = LogFile(segment_path(directory, base_offset, LOG_SUFFIX))
        filesystem, cache = environment.filesystem, environment.indexes
        self.offset_index = OffsetIndex(
            segment_path(directory, base_offset, INDEX_SUFFIX), base_offset, filesystem, cache
        )
        self.time_index = TimeIndex(
            segment_path(directory, base_offset, TIME_INDEX_SUFFIX), base_offset, filesystem, cache
        )
        self.aborted: TransactionIndex | None = None
        """``None``: no marker in this segment aborts anything."""
        self.bytes_since_index = 0
        self.max_timestamp = NO_TIMESTAMP
        self.max_timestamp_offset = base_offset
        """Last offset of the batch with the largest timestamp."""
        self._time_range_known = size == 0
        self._first_timestamp: int | None = None
        self.unverified_start = 0
        self.unverified_end = size
        self.dirty = False
        """Written since the last flush ticket took it."""
        self.created_ms = NO_TIMESTAMP
        """Broker's clock at the first append; -1 for a file found on disk, whose age is that of its last change."""

    def __repr__(self) -> str:
        return f"Segment({self.file.path}, {self.base_offset}..{self.next_offset}, {self.size} bytes)"

    # Writing ---------------------------------------------------------------------------------------

    def create(self, *, reserve_bytes: int = 0) -> None:
        """Make the file of a new segment; its indexes replace whatever an earlier life left under their names.

        ``reserve_bytes`` of disk are set aside for it if the file system can; a full disk is noticed by writing.
        """
        fd = self._environment.files.use(self.file, create=True)
        if reserve_bytes:
            with contextlib.suppress(OSError):
                self._environment.filesystem.reserve(fd, reserve_bytes)
        self._start_over()

    def appended(self, size: int, last_offset: int, max_timestamp: int, index_interval_bytes: int) -> None:
        """A batch of ``size`` bytes was written at the end of the file."""
        position = self.size
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = last_offset
        if position == 0:
            self._first_timestamp = max_timestamp
        if self.bytes_since_index > index_interval_bytes:
            self._index(last_offset, position)
            self.bytes_since_index = 0
        self.bytes_since_index += size
        self.size = position + size
        self.next_offset = last_offset + 1

    def _index(self, last_offset: int, position: int) -> None:
        """The batch is written: an index that does not load may not undo that. It is found out, and rebuilt, when read."""
        try:
            self.offset_index.append(last_offset, position)
            self.time_index.append_if_newer(self.max_timestamp, self.max_timestamp_offset)
        except (IndexDamaged, OSError):
            return

    def first_timestamp(self) -> int:
        """The largest timestamp of the first batch, from which ``segment.ms`` counts; -1 if empty or without one."""
        if self._first_timestamp is None:
            if self.size == 0:
                return NO_TIMESTAMP
            _, header = next(self.headers())
            self._first_timestamp = header.max_timestamp
        return self._first_timestamp

    def seal(self) -> None:
        """The segment takes no more batches: complete its indexes and write them."""
        self.complete_time_index()
        self.flush_indexes()

    def release_reserve(self) -> None:
        """The segment takes no more batches: give back disk that was set aside for it."""
        self._environment.filesystem.truncate(self._environment.files.use(self.file), self.size)

    def complete_time_index(self) -> None:
        if self.size and self._time_range_known:
            self.time_index.append_if_newer(self.max_timestamp, self.max_timestamp_offset)

    def flush_indexes(self) -> bool:
        """Whether there was anything to write."""
        written = self.offset_index.flush()
        written = self.time_index.flush() or written
        if self.aborted is not None:
            self.aborted.flush()
        return written

    @property
    def transaction_index_path(self) -> str:
        return segment_path(self.directory, self.base_offset, TRANSACTION_INDEX_SUFFIX)

    def begin_aborted(self, expected: Fingerprint | None) -> TransactionIndex:
        """From now on this segment has a transaction index, with that on disk."""
        filesystem, cache = self._environment.filesystem, self._environment.indexes
        path = self.transaction_index_path
        self.aborted = TransactionIndex(path, self.base_offset, filesystem, cache, expected)
        return self.aborted

    # Positions -------------------------------------------------------------------------------------

    def find(self, offset: int) -> int:
        """Where the first batch that ends at or above ``offset`` starts; ``size`` if there is none.

        Raises ``DamageFound`` if the log itself does not read; a damaged index is rebuilt on the way.
        """
        try:
            return self._find(offset, self.offset_index.before_offset(offset))
        except (IndexDamaged, DamageFound):
            self.rebuild_indexes()
            return self._find(offset, self.offset_index.before_offset(offset))

    def end_before(self, position: int) -> int:
        """The offset that follows the last batch before ``position``, where a batch starts or would."""
        end = self.base_offset
        for at, header in self.headers(self.offset_index.before_position(max(0, position - 1)).position):
            if at >= position:
                break
            end = header.next_offset
        return end

    def _find(self, offset: int, entry: IndexEntry) -> int:
        if entry.position >= self.size:
            if entry.last_offset < 0:
                return self.size
            raise IndexDamaged(f"{self.offset_index.path}: points behind the end of the log")
        for position, header in self.headers(entry.position):
            if position == entry.position and entry.last_offset not in (-1, header.last_offset):
                raise IndexDamaged(f"{self.offset_index.path}: the batch at {position} is another one")
            if header.last_offset >= offset:
                return position
        return self.size

    def whole_batches(self, data: bytes, position: int) -> tuple[int, int]:
        """How many bytes of ``data``, read at ``position`` (the start of a batch), are whole batches, and the offset
        that follows them (-1 if that was not seen). A few header looks, thanks to the index."""
        try:
            entry = self.offset_index.before_position(position + len(data) - HEADER_SIZE)
        except IndexDamaged:
            self.rebuild_indexes()
            return self.whole_batches(data, position)
        whole, expected_last, next_offset = 0, -1, -1
        if entry.position > position:
            whole, expected_last = entry.position - position, entry.last_offset
        end = len(data)
        while end - whole >= HEADER_SIZE:
            base_offset, length, _, magic, _, _, last_offset_delta, *_ = HEADER.unpack_from(data, whole)
            last_offset = base_offset + last_offset_delta
            if expected_last >= 0 and (magic != MAGIC or last_offset != expected_last):
                self.rebuild_indexes()
                return self.whole_batches(data, position)
            if length < BATCH_LENGTH_MIN:
                raise DamageFound(position + whole, base_offset, f"a batch cannot have length {length}")
            after = whole + length + LENGTH_PREFIX_SIZE
            if after > end:
                next_offset = base_offset if whole else -1
                break
            whole, expected_last, next_offset = after, -1, last_offset + 1
        return whole, next_offset

    def verify(self, data: Buffer, position: int, offset: int) -> None:
        """Check whole batches read at ``position``, the first of which should hold ``offset``, if this process has not
        seen those bytes yet. Raises ``DamageFound``."""
        end = position + len(data)
        if position >= self.unverified_end or end <= self.unverified_start:
            return
        at, expected = 0, -1
        while at < len(data):
            header = BatchHeader._make(HEADER.unpack_from(data, at))
            fits = header.base_offset == expected if at else header.base_offset <= offset <= header.last_offset
            if not fits and not self.gaps_allowed:
                raise DamageFound(position + at, offset, f"offset {header.base_offset} is not the one that follows")
            if header.magic != MAGIC or not BATCH_LENGTH_MIN <= header.batch_length <= len(data) - at:
                raise DamageFound(position + at, header.base_offset, "no batch starts here")
            if not crc_is_valid(data, at, header.size):
                raise DamageFound(position + at, header.base_offset, "the CRC does not match")
            at, expected = at + header.size, header.next_offset
        if position <= self.unverified_start:
            self.unverified_start = end

    def time_range(self) -> tuple[int, int]:
        """Largest timestamp and the last offset of its batch; (-1, base offset) if the segment is empty."""
        if not self._time_range_known:
            try:
                self._load_time_range()
            except (IndexDamaged, DamageFound):
                self.rebuild_indexes()
        return self.max_timestamp, self.max_timestamp_offset

    def _load_time_range(self) -> None:
        """The last time index entry, and the batches behind the last offset index entry, which it may not cover."""
        newest, tail = self.time_index.last_entry(), self.offset_index.last_entry()
        if newest.timestamp >= 0 and newest.offset >= self.next_offset > self.base_offset:
            raise IndexDamaged(f"{self.time_index.path}: points behind the end of the log")
        self.max_timestamp, self.max_timestamp_offset = newest.timestamp, newest.offset
        for _, header in self.headers(tail.position):
            if header.max_timestamp > self.max_timestamp:
                self.max_timestamp, self.max_timestamp_offset = header.max_timestamp, header.last_offset
        self._time_range_known = True

    def batch_at(self, position: int, header: BatchHeader) -> bytes:
        """The whole batch, checked. Raises ``DamageFound``."""
        batch = self._environment.filesystem.pread(self._environment.files.use(self.file), header.size, position)
        if len(batch) != header.size:
            raise DamageFound(position, header.base_offset, "the file is shorter than it was")
        if not crc_is_valid(batch, 0, header.size):
            raise DamageFound(position, header.base_offset, "the CRC does not match")
        return batch

    def headers(self, position: int = 0) -> Iterator[tuple[int, BatchHeader]]:
        """Position and header of each batch from ``position`` on."""
        return self._headers(position, self.size)

    def _headers(self, position: int, end: int) -> Iterator[tuple[int, BatchHeader]]:
        if position >= end:
            return iter(())
        return scan_headers(
            self._environment.filesystem,
            self._environment.files.use(self.file),
            position,
            end,
            self.base_offset,
            gaps_allowed=self.gaps_allowed,
            exact=position == 0 and not self.gaps_allowed,
        )

    # Repair ----------------------------------------------------------------------------------------

    def rebuild_indexes(self, index_interval_bytes: int = REBUILT_INTERVAL_BYTES) -> None:
        """Make both indexes anew from the batch headers. Raises ``DamageFound``."""
        size, self.size = self.size, 0
        self._start_over()
        try:
            for _, header in self._headers(0, size):
                self.appended(header.size, header.last_offset, header.max_timestamp, index_interval_bytes)
        finally:
            self.size = size
        self.flush_indexes()

    def recover(self, index_interval_bytes: int) -> Iterator[BatchHeader]:
        """Check every batch from the start, rebuilding the indexes; yields each good header.

        Ends with ``DamageFound`` at the first bad one; ``size`` and ``next_offset`` are then those of the good part.
        """
        size, self.size = self.size, 0
        self._start_over()
        fd = self._environment.files.use(self.file)
        batches = scan_checked(
            self._environment.filesystem, fd, 0, size, self.base_offset, gaps_allowed=self.gaps_allowed
        )
        for _, header in batches:
            self.appended(header.size, header.last_offset, header.max_timestamp, index_interval_bytes)
            self.unverified_start = self.unverified_end = self.size
            yield header

    def look_at_tail(self, gap_bytes_max: int) -> None:
        """Learn ``next_offset`` and the time range of a file that needs no recovery, without reading all of it.

        An index that is missing, damaged, or ends further than ``gap_bytes_max`` from the end of the log is rebuilt.
        Raises ``DamageFound`` if the log itself does not read.
        """
        if self.size == 0:
            return
        try:
            self._look_behind_index(gap_bytes_max)
        except (IndexDamaged, DamageFound):
            self.rebuild_indexes()

    def _look_behind_index(self, gap_bytes_max: int) -> None:
        tail = self.offset_index.last_entry()
        if not 0 < self.size - tail.position <= gap_bytes_max:
            raise IndexDamaged(f"{self.offset_index.path}: ends at byte {tail.position} of {self.size}")
        for position, header in self.headers(tail.position):
            if position == tail.position and tail.last_offset not in (-1, header.last_offset):
                raise IndexDamaged(f"{self.offset_index.path}: the batch at {position} is another one")
            self.next_offset = header.next_offset
        self.bytes_since_index = self.size - tail.position
        self._load_time_range()

    def truncate(self, position: int, next_offset: int) -> None:
        """Cut the file, and what the indexes say, to ``position``, the start of the batch ``next_offset``."""
        environment = self._environment
        environment.filesystem.truncate(environment.files.use(self.file), position)
        self.size, self.next_offset = position, next_offset
        self.unverified_end = min(self.unverified_end, position)
        self.unverified_start = min(self.unverified_start, position)
        self.rebuild_indexes() if position else self._start_over()
        if self.aborted is not None:
            try:
                self.aborted.truncate_to(next_offset)
            except IndexDamaged as damage:
                self.aborted.give_up(str(damage))

    def close(self) -> None:
        self._environment.files.close(self.file)
        self.offset_index.close()
        self.time_index.close()
        if self.aborted is not None:
            self.aborted.close()

    def paths(self) -> list[str]:
        suffixes = (LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX)
        return [segment_path(self.directory, self.base_offset, suffix) for suffix in suffixes]

    def _start_over(self) -> None:
        self.offset_index.reset()
        self.time_index.reset()
        self.next_offset = self.base_offset
        self.bytes_since_index = 0
        self.max_timestamp, self.max_timestamp_offset = NO_TIMESTAMP, self.base_offset
        self._time_range_known = True
        self._first_timestamp = None
