"""The time index of one segment: Kafka's ``.timeindex`` file.

Owns: (timestamp int64, relative offset int32) pairs, big-endian: *no record before this offset's batch end is
newer than the timestamp*, and the batch that holds the offset has exactly it as its maximum. The last entry of a
closed segment is the segment's largest timestamp.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from typing import NamedTuple

from broker.storage.sparse_index import SparseIndex
from broker.types import NO_TIMESTAMP

_ENTRY = struct.Struct(">qi")


class TimeEntry(NamedTuple):
    timestamp: int
    offset: int


class TimeIndex(SparseIndex):
    __slots__ = ()

    ENTRY_SIZE = 12
    KEY_TYPE = "q"

    def append_if_newer(self, timestamp: int, offset: int) -> None:
        """Add an entry unless its timestamp is not larger than the last one's."""
        keys, values = self.loaded()
        if timestamp > (keys[-1] if keys else NO_TIMESTAMP):
            keys.append(timestamp)
            values.append(offset - self.base_offset)
            self._grown(len(keys))

    def before_timestamp(self, timestamp: int) -> TimeEntry:
        """The last entry whose timestamp is below: no record up to its offset has reached ``timestamp`` yet."""
        keys, values = self.loaded()
        index = bisect_left(keys, timestamp) - 1
        return self._entry(keys, values, index)

    def last_entry(self) -> TimeEntry:
        pair = self._last_pair()
        return TimeEntry(pair[0], pair[1] + self.base_offset) if pair else TimeEntry(NO_TIMESTAMP, self.base_offset)

    def truncate_to_offset(self, offset: int) -> None:
        """Drop the entries at or above ``offset``."""
        self.truncate_entries(bisect_left(self.loaded()[1], offset - self.base_offset))

    def _entry(self, keys: array[int], values: array[int], index: int) -> TimeEntry:
        if index < 0:
            return TimeEntry(NO_TIMESTAMP, self.base_offset)
        return TimeEntry(keys[index], values[index] + self.base_offset)

    def _decode(self, content: bytes) -> tuple[array[int], array[int]]:
        keys, values = array("q"), array("i")
        for timestamp, offset in _ENTRY.iter_unpack(content):
            keys.append(timestamp)
            values.append(offset)
        return keys, values

    def _encode(self, first: int) -> bytes:
        keys, values = self.loaded()
        return b"".join(map(_ENTRY.pack, keys[first:], values[first:]))
