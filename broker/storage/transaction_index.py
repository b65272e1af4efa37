"""The aborted transactions whose markers lie in one segment: Kafka's ``.txnindex`` file.

Owns: 34 bytes per aborted transaction, big-endian, in the order of their markers:

    version int16 = 0, producer id int64, first offset int64, last offset int64 (the marker's), last stable offset int64

Unlike the sparse indexes it is whole: a reader of committed data throws away what it names and nothing else. So it is
written with every abort, and what it must contain is known besides (``Fingerprint``, kept by
``aborted_transactions.py``): a file that is missing, short or altered raises ``IndexDamaged`` and is made anew from the
log. The segment has none until a transaction is aborted in it.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from crc32c import crc32c

from broker.storage.filesystem import FileSystem
from broker.storage.index_cache import IndexCache
from broker.storage.open_transactions import EndedTransaction
from broker.storage.sparse_index import IndexDamaged
from broker.types import Offset, ProducerId

ENTRY = struct.Struct(">hqqqq")
VERSION = 0
ENTRY_MEMORY_BYTES = 256
"""About what an entry takes in memory."""

assert ENTRY.size == 34


class AbortedTransaction(NamedTuple):
    producer_id: ProducerId
    first_offset: Offset
    last_offset: Offset
    last_stable_offset: Offset


class Fingerprint(NamedTuple):
    """What the file of a segment must be: so many entries, with this CRC-32C over all their bytes."""

    entry_count: int
    crc: int


NOTHING = Fingerprint(0, 0)


def encode_entries(entries: Iterable[AbortedTransaction]) -> bytes:
    return b"".join([ENTRY.pack(VERSION, *entry) for entry in entries])


def decode_entries(content: bytes, base_offset: Offset) -> list[AbortedTransaction]:
    """Raises ``ValueError`` for anything that cannot be the index of a segment that starts at ``base_offset``."""
    if len(content) % ENTRY.size:
        raise ValueError(f"{len(content)} bytes are no whole number of entries")
    entries = []
    before = base_offset - 1
    for version, *fields in ENTRY.iter_unpack(content):
        entry = AbortedTransaction(*fields)
        if version != VERSION:
            raise ValueError(f"unknown version {version}")
        if entry.producer_id < 0 or not 0 <= entry.first_offset < entry.last_offset or entry.last_offset <= before:
            raise ValueError(f"entry {entry} cannot be")
        before = entry.last_offset
        entries.append(entry)
    return entries


class TransactionIndex:
    __slots__ = ("_cache", "_damage", "_entries", "_expected", "_filesystem", "_written", "base_offset", "path", "used")

    def __init__(
        self, path: str, base_offset: Offset, filesystem: FileSystem, cache: IndexCache, expected: Fingerprint | None
    ) -> None:
        """``expected`` of the file there is; ``NOTHING``: a new one; ``None``: whatever it says, if it makes sense."""
        self.path = path
        self.base_offset = base_offset
        self.used = False
        self._filesystem = filesystem
        self._cache = cache
        self._expected = expected
        self._entries: list[AbortedTransaction] | None = [] if expected == NOTHING else None
        self._written = 0
        """Entries that are in the file; -1: it has to be written anew."""
        self._damage: str | None = None

    # Reading ---------------------------------------------------------------------------------------

    def entries(self) -> list[AbortedTransaction]:
        """Raises ``IndexDamaged``."""
        if self._entries is not None:
            self.used = True
            return self._entries
        if self._damage is not None:
            raise IndexDamaged(f"{self.path}: {self._damage}")
        content = self._filesystem.read_file(self.path) or b""
        try:
            entries = decode_entries(content, self.base_offset)
        except ValueError as error:
            raise IndexDamaged(f"{self.path}: {error}") from error
        if self._expected is not None and self._expected != Fingerprint(len(entries), crc32c(content)):
            raise IndexDamaged(f"{self.path}: it is not what was written")
        self._entries, self._written, self.used = entries, len(entries), False
        self._cache.note(self)
        return entries

    def collect(self, offset: Offset, upto_offset: Offset, found: list[AbortedTransaction]) -> bool:
        """Add the transactions that overlap ``[offset, upto_offset)``; whether later indexes can hold no further one.

        Raises ``IndexDamaged``.
        """
        entries = self.entries()
        for entry in entries[bisect_left(entries, offset, key=_last_offset) :]:
            if entry.first_offset < upto_offset:
                found.append(entry)
            if entry.last_stable_offset >= upto_offset:
                return True
        return False

    def fingerprint(self) -> Fingerprint:
        """Raises ``IndexDamaged``."""
        if self._expected is None:
            content = encode_entries(self.entries())
            self._expected = Fingerprint(len(self.entries()), crc32c(content))
        return self._expected

    # Writing ---------------------------------------------------------------------------------------

    def add(self, ended: EndedTransaction, *, write: bool = True) -> None:
        """Raises ``IndexDamaged``; on a full disk the entry waits in memory for the next ``flush``."""
        self.entries().append(
            AbortedTransaction(ended.producer_id, ended.first_offset, ended.last_offset, ended.last_stable_offset)
        )
        self._expected = None
        self._cache.note(self)
        if write:
            try:
                self.flush()
            except OSError:
                return

    def reset(self) -> None:
        """Forget every entry, as the start of a rebuild."""
        self._entries, self._written, self._expected, self._damage = [], -1, None, None
        self._cache.note(self)

    def give_up(self, reason: str) -> None:
        """Something was not noted: nothing less than a rebuild makes this right."""
        self._entries, self._expected, self._damage = None, None, reason
        self._cache.forget(self)

    def truncate_to(self, offset: Offset) -> None:
        """Forget the transactions whose marker lies at or above ``offset``. Raises ``IndexDamaged``, ``OSError``."""
        entries = self.entries()
        keep = bisect_left(entries, offset, key=_last_offset)
        if keep < len(entries):
            del entries[keep:]
            self._written, self._expected = -1, None
            self.flush()

    def flush(self) -> None:
        """Write the entries the file does not have yet. Raises ``OSError``."""
        entries = self._entries
        if entries is None or self._written == len(entries):
            return
        if self._written < 0:
            self._filesystem.write_file(self.path, encode_entries(entries))
        else:
            content = encode_entries(entries[self._written :])
            self._filesystem.append_file(self.path, content, self._written * ENTRY.size)
        self._written = len(entries)

    # Memory ----------------------------------------------------------------------------------------

    def memory_bytes(self) -> int:
        return 0 if self._entries is None else len(self._entries) * ENTRY_MEMORY_BYTES

    def unload(self) -> bool:
        """Called by the cache. What is on disk is known by its fingerprint from now on."""
        try:
            self.flush()
        except OSError:
            return False
        self.fingerprint()
        self._entries = None
        return True

    def close(self) -> None:
        self._entries = None
        self._cache.forget(self)


def _last_offset(entry: AbortedTransaction) -> Offset:
    return entry.last_offset
