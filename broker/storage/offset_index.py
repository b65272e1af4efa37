"""The offset index of one segment: Kafka's ``.index`` file.

Owns: (offset relative to the segment's base, byte position) pairs, both big-endian int32, one about every
``index.interval.bytes``. As in Kafka an entry holds the *last* offset of the batch that starts at the position
(``DumpLogSegments`` checks exactly that), so a lookup of any offset lands at or before its batch.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

from broker.storage.sparse_index import SparseIndex


class IndexEntry(NamedTuple):
    last_offset: int
    """Of the batch at ``position``; -1 for the start of the segment, which has no entry."""
    position: int


class OffsetIndex(SparseIndex):
    __slots__ = ()

    ENTRY_SIZE = 8
    KEY_TYPE = "i"

    def append(self, last_offset: int, position: int) -> None:
        """``last_offset`` and ``position`` both grow from call to call."""
        keys, values = self.loaded()
        keys.append(last_offset - self.base_offset)
        values.append(position)
        self._grown(len(keys))

    def before_offset(self, offset: int) -> IndexEntry:
        """The last entry at or before the batch that holds ``offset``."""
        keys, values = self.loaded()
        index = bisect_right(keys, offset - self.base_offset) - 1
        return IndexEntry(keys[index] + self.base_offset, values[index]) if index >= 0 else IndexEntry(-1, 0)

    def before_position(self, position: int) -> IndexEntry:
        """The last entry that starts at or before the byte ``position``."""
        keys, values = self.loaded()
        index = bisect_right(values, position) - 1
        return IndexEntry(keys[index] + self.base_offset, values[index]) if index >= 0 else IndexEntry(-1, 0)

    def last_entry(self) -> IndexEntry:
        pair = self._last_pair()
        return IndexEntry(pair[0] + self.base_offset, pair[1]) if pair else IndexEntry(-1, 0)

    def truncate_to_position(self, position: int) -> None:
        """Drop the entries of batches that start at or behind ``position``."""
        self.truncate_entries(bisect_left(self.loaded()[1], position))

    def _decode(self, content: bytes) -> tuple[array[int], array[int]]:
        numbers = array("i", content)
        if sys.byteorder == "little":
            numbers.byteswap()
        return numbers[0::2], numbers[1::2]

    def _encode(self, first: int) -> bytes:
        keys, values = self.loaded()
        numbers = array("i", bytes(8 * (len(keys) - first)))
        numbers[0::2] = keys[first:]
        numbers[1::2] = values[first:]
        if sys.byteorder == "little":
            numbers.byteswap()
        return numbers.tobytes()


assert array("i").itemsize == 4
assert array("q").itemsize == 8
