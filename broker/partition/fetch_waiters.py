"""Who waits for data in one partition, and how much of what came each of them may see.

Owned by ``driver.py``, which tells it of every advance of the high watermark. A reader of committed data is told when the
last stable offset moves and not before: while a transaction is open, appends are nothing to look at. Bytes are counted
exactly where both marks move together; where a marker sets much free at once, readers are asked to look (-1).
"""

from __future__ import annotations

from typing import Protocol

from broker.types import NO_OFFSET, Offset

READ_COMMITTED = 1
LOOK_AGAIN = -1


class FetchWaiter(Protocol):
    """A long poll. Told of new data (bytes) or that it should look again whatever there is (-1)."""

    def on_data(self, byte_count: int) -> None: ...


class ReplicaWaiter(Protocol):
    """A follower's long poll. Told of what is appended, whether or not it is committed."""

    def on_data(self, byte_count: int) -> None: ...

    def on_high_watermark(self) -> None:
        """The high watermark moved: worth telling soon, though not at once."""


class FetchWaiters:
    __slots__ = ("_committed_count", "_held_back", "_stable_offset", "_waiters")

    def __init__(self) -> None:
        self._waiters: dict[FetchWaiter, bool] = {}
        """Waiter → whether it reads committed data only."""
        self._committed_count = 0
        self._stable_offset: Offset = NO_OFFSET
        """As the readers of committed data know it; kept up only while there are any."""
        self._held_back = False
        """Whether it was behind the high watermark then."""

    def __len__(self) -> int:
        return len(self._waiters)

    @property
    def any_committed(self) -> bool:
        return self._committed_count > 0

    def add(self, waiter: FetchWaiter, isolation_level: int, stable_offset: Offset, high_watermark: Offset) -> None:
        self.remove(waiter)
        committed = isolation_level == READ_COMMITTED
        self._waiters[waiter] = committed
        if committed:
            if not self._committed_count:
                self._stable_offset, self._held_back = stable_offset, stable_offset < high_watermark
            self._committed_count += 1

    def remove(self, waiter: FetchWaiter) -> None:
        if self._waiters.pop(waiter, False):
            self._committed_count -= 1

    def wake(self) -> None:
        for waiter in tuple(self._waiters):
            waiter.on_data(LOOK_AGAIN)

    def advanced(self, byte_count: int, stable_offset: Offset, high_watermark: Offset) -> None:
        """The high watermark advanced by ``byte_count`` bytes (-1: unknown)."""
        if not self._committed_count:
            for waiter in tuple(self._waiters):
                waiter.on_data(byte_count)
            return
        committed_bytes = self._committed_bytes(byte_count, stable_offset, high_watermark)
        for waiter, committed in tuple(self._waiters.items()):
            waiter.on_data(committed_bytes if committed else byte_count)

    def _committed_bytes(self, byte_count: int, stable_offset: Offset, high_watermark: Offset) -> int:
        moved, was_held_back = stable_offset != self._stable_offset, self._held_back
        self._stable_offset, self._held_back = stable_offset, stable_offset < high_watermark
        if not moved:
            return 0
        return LOOK_AGAIN if was_held_back or self._held_back else byte_count
