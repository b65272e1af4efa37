"""Percentiles of millions of latencies in a few kilobytes.

Owns: a histogram whose buckets grow by 1 %, so a percentile is at most 1 % too high; count, mean, smallest and largest
are exact. From 1 µs to a day there are 2,535 buckets, whatever is measured.
"""

from __future__ import annotations

import math

GROWTH = 1.01
SMALLEST_SECONDS = 1e-6
BUCKETS_MAX = 1 + math.ceil(math.log(86_400 / SMALLEST_SECONDS, GROWTH))
PERCENTILES = (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("p99_9", 0.999))

_LOG_GROWTH = math.log(GROWTH)


class LatencyHistogram:
    def __init__(self) -> None:
        self.count = 0
        self._total_seconds = 0.0
        self._largest_seconds = 0.0
        self._buckets: dict[int, int] = {}

    def record(self, seconds: float, count: int = 1) -> None:
        """``count`` operations that took ``seconds`` each. A clock that stepped back counts as nothing."""
        seconds = max(0.0, seconds)
        self.count += count
        self._total_seconds += seconds * count
        self._largest_seconds = max(self._largest_seconds, seconds)
        index = _index(seconds)
        self._buckets[index] = self._buckets.get(index, 0) + count

    def percentile(self, fraction: float) -> float:
        """Seconds within which this fraction of the operations was done; 0 without any."""
        rank, seen = math.ceil(fraction * self.count), 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            if seen >= rank:
                return min(self._largest_seconds, SMALLEST_SECONDS * GROWTH**index)
        return self._largest_seconds

    def row(self) -> dict[str, float] | None:
        """Milliseconds; ``None`` if nothing was measured."""
        if not self.count:
            return None
        found = {name: self.percentile(fraction) for name, fraction in PERCENTILES}
        values = {"mean": self._total_seconds / self.count, **found, "max": self._largest_seconds}
        return {name: round(seconds * 1000, 3) for name, seconds in values.items()}


def _index(seconds: float) -> int:
    if seconds <= SMALLEST_SECONDS:
        return 0
    return min(BUCKETS_MAX, math.ceil(math.log(seconds / SMALLEST_SECONDS) / _LOG_GROWTH))
