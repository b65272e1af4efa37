"""A bound on the memory of loaded indexes.

Owns: which sparse indexes of a log dir are in memory. An index loads at its first use and is dropped again when
the total grows beyond the limit and others were used after it, so old segments and idle partitions cost nothing.
"""

from __future__ import annotations

from typing import Protocol


class Unloadable(Protocol):
    used: bool

    def memory_bytes(self) -> int: ...

    def unload(self) -> bool:
        """Whether it is out of memory now."""


class IndexCache:
    __slots__ = ("_limit_bytes", "_loaded", "_total_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._loaded: dict[Unloadable, int] = {}
        self._total_bytes = 0

    @property
    def total_bytes(self) -> int:
        return self._total_bytes

    def note(self, index: Unloadable) -> None:
        """The index was loaded, or has grown."""
        size = index.memory_bytes()
        self._total_bytes += size - self._loaded.get(index, 0)
        self._loaded[index] = size
        if self._total_bytes > self._limit_bytes:
            self._shrink(keep=index)

    def forget(self, index: Unloadable) -> None:
        self._total_bytes -= self._loaded.pop(index, 0)

    def _shrink(self, keep: Unloadable) -> None:
        """Drop the longest loaded first; one used again since gets a second chance."""
        for _ in range(2):
            for index in list(self._loaded):
                if self._total_bytes <= self._limit_bytes:
                    return
                if index is keep:
                    continue
                if index.used:
                    index.used = False
                elif index.unload():
                    self.forget(index)
