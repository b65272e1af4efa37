"""Producer state on disk: Kafka's ``<offset>.snapshot`` files (version 1).

Owns: the format (version int16, CRC-32C uint32 over the rest, count int32, then 46 bytes per producer) and the
set of snapshot files of a partition. A snapshot holds the state before ``offset``; the state at the log's end is
the newest valid snapshot plus a replay of the batches behind it. The format keeps one batch per producer, so after
a restart the older four are known only if they are replayed.

A snapshot is only a shortcut: one that does not read back is removed and an older one, or the whole log, is used.
"""

from __future__ import annotations

import os
import struct
from bisect import insort

from crc32c import crc32c

from broker.storage.filesystem import FileSystem
from broker.storage.producer_state import SEQUENCE_MASK, ProducerBatch, ProducerEntry, ProducerState
from broker.types import NO_OFFSET

SNAPSHOT_SUFFIX = ".snapshot"
VERSION = 1
_PREFIX = struct.Struct(">hI")
_COUNT = struct.Struct(">i")
_ENTRY = struct.Struct(">qhiqiqiq")

assert _PREFIX.size == 6
assert _ENTRY.size == 46


def encode_snapshot(state: ProducerState) -> bytes:
    entries = state.entries()
    body = bytearray(_COUNT.pack(len(entries)))
    for entry in entries:
        last = entry.batches[-1] if entry.batches else None
        body += _ENTRY.pack(
            entry.producer_id,
            entry.epoch,
            last.last_sequence if last else -1,
            last.last_offset if last else NO_OFFSET,
            last.last_offset - last.base_offset if last else 0,
            entry.last_seen_ms,
            entry.coordinator_epoch,
            entry.transaction_start,
        )
    return _PREFIX.pack(VERSION, crc32c(body)) + body


def decode_snapshot(content: bytes) -> list[ProducerEntry]:
    """Raises ``ValueError`` for anything but a whole, unaltered snapshot."""
    if len(content) < _PREFIX.size + _COUNT.size:
        raise ValueError("too short")
    version, crc = _PREFIX.unpack_from(content)
    if version != VERSION:
        raise ValueError(f"unknown version {version}")
    body = memoryview(content)[_PREFIX.size :]
    if crc32c(body) != crc:
        raise ValueError("the CRC does not match")
    if _COUNT.unpack_from(body)[0] * _ENTRY.size != len(body) - _COUNT.size:
        raise ValueError("the count does not fit the size")
    return [_entry(*fields) for fields in _ENTRY.iter_unpack(body[_COUNT.size :])]


def _entry(
    producer_id: int,
    epoch: int,
    last_sequence: int,
    last_offset: int,
    offset_delta: int,
    seen_ms: int,
    coordinator_epoch: int,
    transaction_start: int,
) -> ProducerEntry:
    entry = ProducerEntry(producer_id, epoch)
    entry.last_seen_ms = seen_ms
    entry.coordinator_epoch = coordinator_epoch
    entry.transaction_start = transaction_start
    if last_sequence >= 0:
        first = (last_sequence - offset_delta) & SEQUENCE_MASK
        entry.batches.append(ProducerBatch(first, last_sequence, last_offset - offset_delta, last_offset, seen_ms))
    return entry


class ProducerSnapshots:
    """The snapshot files in one partition's directory, by offset."""

    __slots__ = ("_directory", "_filesystem", "_offsets")

    def __init__(self, filesystem: FileSystem, directory: str, offsets: list[int]) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._offsets = sorted(offsets)

    @property
    def offsets(self) -> list[int]:
        return list(self._offsets)

    def path(self, offset: int) -> str:
        return os.path.join(self._directory, f"{offset:020d}{SNAPSHOT_SUFFIX}")

    def take(self, state: ProducerState, offset: int, *, durable: bool) -> bool:
        """Save the state before ``offset``, unless it is there already. Raises ``OSError``."""
        if offset in self._offsets:
            return False
        self._filesystem.replace_file(self.path(offset), encode_snapshot(state), durable=durable)
        insort(self._offsets, offset)
        return True

    def load_newest(self, state: ProducerState, lowest: int, highest: int) -> int | None:
        """Fill ``state`` from the newest valid snapshot in ``[lowest, highest]``; its offset, ``None`` if none."""
        state.clear()
        for offset in reversed([offset for offset in self._offsets if lowest <= offset <= highest]):
            try:
                entries = decode_snapshot(self._filesystem.read_file(self.path(offset)) or b"")
            except ValueError:
                self.remove(offset)
                continue
            state.restore(entries)
            return offset
        return None

    def remove(self, offset: int) -> None:
        if offset in self._offsets:
            self._offsets.remove(offset)
            self._filesystem.unlink(self.path(offset))

    def remove_above(self, end_offset: int) -> None:
        for offset in [offset for offset in self._offsets if offset > end_offset]:
            self.remove(offset)

    def keep_only(self, wanted: set[int]) -> None:
        for offset in [offset for offset in self._offsets if offset not in wanted]:
            self.remove(offset)
