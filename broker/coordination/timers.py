"""Deadlines of a coordinator: one heap over the monotonic clock.

Owns: which key is due when. Pure: time is an argument. Heartbeats move a deadline far more often than one is
reached, so moving one *later* only updates a dictionary; the heap learns of it when the old entry surfaces.
Invariant: for every armed key the heap holds an entry with due ≤ its deadline.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_STALE_ENTRIES_MIN = 64


class Timers(Generic[K]):
    def __init__(self) -> None:
        self._deadlines: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._queued: dict[K, float] = {}
        """The earliest heap entry of each key; an entry that differs is stale."""
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._deadlines)

    def set(self, key: K, deadline: float) -> None:
        self._deadlines[key] = deadline
        queued = self._queued.get(key)
        if queued is None or deadline < queued:
            self._push(key, deadline)

    def cancel(self, key: K) -> None:
        self._deadlines.pop(key, None)

    def discard(self, belongs: Callable[[K], bool]) -> None:
        """Cancel every key for which ``belongs`` is true."""
        for key in [key for key in self._deadlines if belongs(key)]:
            del self._deadlines[key]

    def next_deadline(self) -> float | None:
        """The earliest deadline of all."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[K]:
        """Keys whose deadline is ≤ ``now``, earliest first; they are disarmed."""
        due: list[K] = []
        while True:
            self._settle()
            if not self._heap or self._heap[0][0] > now:
                return due
            _, _, key = heapq.heappop(self._heap)
            del self._queued[key]
            del self._deadlines[key]
            due.append(key)

    def postpone_due(self, now: float, until: float) -> int:
        """Move every deadline ≤ ``now`` to ``until``; returns how many moved."""
        late = self.pop_due(now)
        for key in late:
            self.set(key, until)
        return len(late)

    def _push(self, key: K, due: float) -> None:
        if len(self._heap) > 2 * len(self._deadlines) + _STALE_ENTRIES_MIN:
            self._rebuild()
        self._sequence += 1
        self._queued[key] = due
        heapq.heappush(self._heap, (due, self._sequence, key))

    def _settle(self) -> None:
        """Make the top of the heap true: drop stale entries, requeue keys whose deadline has moved later."""
        while self._heap:
            due, _, key = self._heap[0]
            deadline = self._deadlines.get(key)
            if self._queued.get(key) == due and deadline == due:
                return
            heapq.heappop(self._heap)
            if self._queued.get(key) == due:
                del self._queued[key]
                if deadline is not None:
                    self._push(key, deadline)

    def _rebuild(self) -> None:
        self._heap = [(due, index, key) for index, (key, due) in enumerate(self._deadlines.items())]
        self._queued = dict(self._deadlines)
        self._sequence = len(self._heap)
        heapq.heapify(self._heap)
