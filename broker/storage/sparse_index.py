"""What the offset index and the time index of a segment share: a sorted table, in memory and in a small file.

Owns: loading on first use, writing the new entries in one go, and refusing a damaged file. The file is only a
shortcut into the log: it is written when a segment rolls, at checkpoints and at close, and rebuilt from the log
whenever it is missing, short or does not make sense. Subclasses own the format of an entry.

What must stay true: ``keys`` strictly increase and ``values`` never decrease; entry ``i`` of the file is entry
``i`` in memory, and the first ``_written`` of them are in the file.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from array import array
from typing import ClassVar

from broker.storage.filesystem import FileSystem
from broker.storage.index_cache import IndexCache

NOTE_GROWTH_EVERY = 1024
"""Entries between two looks of the cache at a growing index."""


class IndexDamaged(Exception):
    """The index file does not fit its log; rebuild it."""


class SparseIndex(ABC):
    __slots__ = ("_cache", "_filesystem", "_written", "base_offset", "keys", "path", "used", "values")

    ENTRY_SIZE: ClassVar[int]
    KEY_TYPE: ClassVar[str]

    def __init__(self, path: str, base_offset: int, filesystem: FileSystem, cache: IndexCache) -> None:
        self.path = path
        self.base_offset = base_offset
        self.used = False
        self.keys: array[int] | None = None
        self.values: array[int] | None = None
        self._written = 0
        self._filesystem = filesystem
        self._cache = cache

    # Memory ----------------------------------------------------------------------------------------

    def loaded(self) -> tuple[array[int], array[int]]:
        """The table, read from its file if need be. Raises ``IndexDamaged``; a missing file is an empty index."""
        if self.keys is not None and self.values is not None:
            self.used = True
        else:
            content = self._filesystem.read_file(self.path) or b""
            if len(content) % self.ENTRY_SIZE:
                raise IndexDamaged(f"{self.path}: {len(content)} bytes are no whole number of entries")
            keys, values = self._decode(content)
            if not _is_sorted(keys, operator.lt) or not _is_sorted(values, operator.le):
                raise IndexDamaged(f"{self.path}: entries are out of order")
            if keys and (values[0] < 0 or (self.KEY_TYPE == "i" and keys[0] < 0)):
                raise IndexDamaged(f"{self.path}: negative entry")
            self.keys, self.values = keys, values
            self._written = len(keys)
            self.used = False
            self._cache.note(self)
        return self.keys, self.values

    def reset(self) -> None:
        """Forget every entry, as the start of a rebuild; the file is replaced by the next ``flush``."""
        self.keys, self.values = array(self.KEY_TYPE), array("i")
        self._written = -1
        self._cache.note(self)

    def memory_bytes(self) -> int:
        return 0 if self.keys is None else len(self.keys) * self.ENTRY_SIZE

    def unload(self) -> bool:
        """Called by the cache. Entries not yet in the file go there first; on a full disk they stay in memory."""
        try:
            self.flush()
        except OSError:
            return False
        self.keys = self.values = None
        return True

    def close(self) -> None:
        self.keys = self.values = None
        self._cache.forget(self)

    def entry_count(self) -> int:
        return len(self.loaded()[0])

    def _last_pair(self) -> tuple[int, int] | None:
        """Key and value of the last entry, without loading the whole table. Raises ``IndexDamaged``."""
        if self.keys is not None and self.values is not None:
            return (self.keys[-1], self.values[-1]) if self.keys else None
        total, content = self._filesystem.read_end(self.path, self.ENTRY_SIZE)
        if total % self.ENTRY_SIZE:
            raise IndexDamaged(f"{self.path}: {total} bytes are no whole number of entries")
        if not content:
            return None
        keys, values = self._decode(content)
        if values[0] < 0 or (self.KEY_TYPE == "i" and keys[0] < 0):
            raise IndexDamaged(f"{self.path}: negative entry")
        return keys[0], values[0]

    def truncate_entries(self, count: int) -> None:
        keys, values = self.loaded()
        if count < len(keys):
            del keys[count:]
            del values[count:]
            if self._written > count:
                self._written = -1
                self.flush()

    def _grown(self, count: int) -> None:
        if count % NOTE_GROWTH_EVERY == 0:
            self._cache.note(self)

    # File ------------------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Write the entries the file does not have yet; whether there were any. Not durable by itself: see the module's
        docstring."""
        if self.keys is None or self._written == len(self.keys):
            return False
        if self._written < 0:
            self._filesystem.write_file(self.path, self._encode(0))
        else:
            self._filesystem.append_file(self.path, self._encode(self._written), self._written * self.ENTRY_SIZE)
        self._written = len(self.keys)
        return True

    @abstractmethod
    def _decode(self, content: bytes) -> tuple[array[int], array[int]]: ...

    @abstractmethod
    def _encode(self, first: int) -> bytes: ...


def _is_sorted(numbers: array[int], before: object) -> bool:
    following = iter(numbers)
    next(following, None)
    return all(map(before, numbers, following))  # type: ignore[call-overload]
