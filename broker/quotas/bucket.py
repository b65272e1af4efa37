"""What a client has had ahead of its rate, as a bucket that leaks at that rate. Pure.

Theory of operation. What is fetched goes in, and leaks out at the client's rate. While the bucket is within its size, one
window of the rate, the client may go on; above it waits for the rest to leak out. So a client that was silent may have a
window at once, over a long time everybody gets the rate, and what comes at once may be larger than the bucket.

``window.py`` measures a rate as Kafka does, which says by how much a client was too fast. It does not say when a certain
amount will be allowed, because what was done leaves the window all at once.
"""

from __future__ import annotations

import math

from broker.quotas.window import WindowSpec


class LeakyBucket:
    """``record`` follows a question about the same moment: only they know the limit, and leak."""

    __slots__ = ("_leaked_at_ms", "_level", "last_ms")

    def __init__(self) -> None:
        self._level = 0.0
        self._leaked_at_ms = 0
        self.last_ms = 0

    def record(self, value: float, now_ms: int, spec: WindowSpec) -> None:
        if not self._level:
            self._leaked_at_ms = now_ms
        self._level += value
        self.last_ms = now_ms

    def room(self, limit: float, now_ms: int, spec: WindowSpec) -> float:
        """What still goes in without a wait afterwards. Never negative."""
        return max(0.0, -self._above(limit, now_ms, spec))

    def wait_ms(self, limit: float, now_ms: int, spec: WindowSpec) -> int:
        return math.ceil(max(0.0, self._above(limit, now_ms, spec)) / limit * 1_000)

    def _above(self, limit: float, now_ms: int, spec: WindowSpec) -> float:
        """By how much it is above its size; negative below."""
        self._level = max(0.0, self._level - limit * (now_ms - self._leaked_at_ms) / 1_000)
        self._leaked_at_ms = now_ms
        return self._level - limit * spec.least_ms / 1_000
