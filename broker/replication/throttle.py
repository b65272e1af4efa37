"""How fast throttled replicas of this broker may catch up: ``follower.replication.throttled.rate``.

Pure: a bucket that refills with the rate and may be overdrawn by one answer, whose bytes are known only when they are
here. Replicas are throttled while they are listed in their topic's ``follower.replication.throttled.replicas`` and are
behind; one that is in sync is never slowed down, or it would leave the in-sync set.
"""

from __future__ import annotations

BURST_SECONDS = 1.0
WAIT_MS_MAX = 1_000
"""A rate that was raised is noticed after this long."""
UNLIMITED = 2**63 - 1


class Throttle:
    __slots__ = ("_available", "_refilled_at", "rate", "throttled_ms_total")

    def __init__(self, now: float, rate: int = UNLIMITED) -> None:
        self.rate = rate
        self.throttled_ms_total = 0
        self._available = 0.0
        self._refilled_at = now

    def set_rate(self, rate: int, now: float) -> None:
        if rate != self.rate:
            self._refill(now)
            self.rate = rate
            self._available = min(self._available, rate * BURST_SECONDS)

    def spend(self, byte_count: int, now: float) -> int:
        """``byte_count`` bytes came. How many ms to ask for nothing more; 0 for none."""
        if self.rate >= UNLIMITED:
            return 0
        self._refill(now)
        self._available -= byte_count
        if self._available >= 0:
            return 0
        wait_ms = WAIT_MS_MAX if self.rate <= 0 else min(WAIT_MS_MAX, int(-self._available / self.rate * 1_000) + 1)
        self.throttled_ms_total += wait_ms
        return wait_ms

    def _refill(self, now: float) -> None:
        elapsed, self._refilled_at = now - self._refilled_at, now
        self._available = min(
            self.rate * BURST_SECONDS, self._available + max(0.0, elapsed) * min(self.rate, UNLIMITED)
        )
