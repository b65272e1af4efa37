"""Reading a log: whole batches by offset, as the bytes they are.

Owns: translating (offset, byte limit, offset limit) into one ``pread``. Sequential readers do not even need the
index: where a read ended is remembered for the next one.
"""

from __future__ import annotations

from broker.protocol.batch import HEADER, HEADER_SIZE, LENGTH_PREFIX_SIZE, batch_size
from broker.storage.environment import LogEnvironment
from broker.storage.log_segments import LogSegments
from broker.storage.segment import Segment
from broker.storage.segment_scan import DamageFound
from broker.types import Buffer

REMEMBERED_POSITIONS = 32


class LogReader:
    __slots__ = ("_environment", "_positions", "_segments")

    def __init__(self, environment: LogEnvironment, segments: LogSegments) -> None:
        self._environment = environment
        self._segments = segments
        self._positions: dict[int, tuple[Segment, int]] = {}
        """Offset → where its batch starts, or will start once it is written. Only exact batch starts."""

    def remember(self, offset: int, segment: Segment, position: int) -> None:
        positions = self._positions
        if len(positions) >= REMEMBERED_POSITIONS:
            del positions[next(iter(positions))]
        positions[offset] = segment, position

    def forget(self) -> None:
        """Positions changed: the log was truncated."""
        self._positions.clear()

    def read(
        self, offset: int, max_bytes: int, upto_offset: int, at_least_one: bool, empty_alone: bool
    ) -> list[Buffer]:
        """Batches from the one that holds ``offset``, below ``upto_offset``; [] if there are none.

        At most ``max_bytes``, except that with ``at_least_one`` the first batch always comes whole. Batches that
        compaction has emptied come with others or, unless ``empty_alone``, not at all: librdkafka takes an answer without
        a record for one that was cut off and asks for the same again. Raises ``DamageFound`` and ``OSError``.
        """
        segment: Segment | None = self._segments.containing(offset)
        while segment is not None and upto_offset > segment.base_offset:
            position = self._position(segment, offset)
            limit = segment.size if upto_offset >= segment.next_offset else self._position(segment, upto_offset)
            if position < limit:
                found = self._read_at(segment, offset, position, limit, max_bytes, at_least_one)
                if empty_alone or not segment.gaps_allowed or not found:
                    return found
                empty_upto = _end_if_empty(found[0])
                if empty_upto < 0:
                    return found
                offset = empty_upto
                segment = self._segments.containing(offset)
                continue
            segment = self._segments.after(segment)
        return []

    def _position(self, segment: Segment, offset: int) -> int:
        remembered = self._positions.get(offset)
        if remembered is not None and remembered[0] is segment:
            return remembered[1]
        return segment.find(offset)

    def _read_at(
        self, segment: Segment, offset: int, position: int, limit: int, max_bytes: int, at_least_one: bool
    ) -> list[Buffer]:
        environment = self._environment
        fd = environment.files.use(segment.file)
        end = position + max_bytes
        if end >= limit:
            data = self._pread(segment, fd, position, limit - position)
            if limit == segment.size:
                self.remember(segment.next_offset, segment, limit)
            segment.verify(data, position, offset)
            return [data]
        data = self._pread(segment, fd, position, max(max_bytes, HEADER_SIZE))
        whole, next_offset = segment.whole_batches(data, position)
        if whole == 0 or whole > max_bytes:
            if not at_least_one:
                return []
            return [self._first_batch(segment, fd, offset, position, limit, data)]
        if next_offset >= 0:
            self.remember(next_offset, segment, position + whole)
        if whole == len(data):
            segment.verify(data, position, offset)
            return [data]
        view = memoryview(data)[:whole]
        segment.verify(view, position, offset)
        return [view]

    def _first_batch(self, segment: Segment, fd: int, offset: int, position: int, limit: int, data: bytes) -> Buffer:
        size = batch_size(data)
        if position + size > limit:
            raise DamageFound(position, segment.base_offset, f"a batch of {size} bytes does not fit the log")
        batch = data if size == len(data) else self._pread(segment, fd, position, size)
        segment.verify(batch, position, offset)
        fields = HEADER.unpack_from(batch)
        assert fields[1] + LENGTH_PREFIX_SIZE == size
        self.remember(fields[0] + fields[6] + 1, segment, position + size)
        return batch

    def _pread(self, segment: Segment, fd: int, position: int, size: int) -> bytes:
        data = self._environment.filesystem.pread(fd, size, position)
        if len(data) != size:
            raise DamageFound(position + len(data), segment.base_offset, "the file is shorter than it was")
        return data


def _end_if_empty(batches: Buffer) -> int:
    """The offset behind whole batches none of which has a record; -1 if one has."""
    at, end = 0, -1
    while at < len(batches):
        base_offset, length, _, _, _, _, last_offset_delta, _, _, _, _, _, count = HEADER.unpack_from(batches, at)
        if count:
            return -1
        end = base_offset + last_offset_delta + 1
        at += length + LENGTH_PREFIX_SIZE
    return end
