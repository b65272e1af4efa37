"""Rates from counters. Pure.

A counter only grows within one incarnation of its broker. A meter that has not seen two readings of the
incarnation knows no rate (``None``, a gap on the page), so a restart can never show a negative one.
"""

from __future__ import annotations

import math
from collections import deque

WINDOW_READINGS = 6
"""Five seconds at one sample a second: smooth enough to read, quick enough to see a stop."""


class Meter:
    """The rates of a few counters that are always read together."""

    __slots__ = ("_readings",)

    def __init__(self) -> None:
        self._readings: deque[tuple[int, tuple[float, ...]]] = deque(maxlen=WINDOW_READINGS)

    def reset(self) -> None:
        """Forget everything: another incarnation starts counting at zero."""
        self._readings.clear()

    def read(self, at_ms: int, totals: tuple[float, ...]) -> None:
        """Take a reading. A clock that stands still or goes back, or a falling counter, starts over."""
        if self._readings:
            last_ms, last_totals = self._readings[-1]
            if at_ms <= last_ms or any(now < was for now, was in zip(totals, last_totals, strict=True)):
                if at_ms == last_ms and totals == last_totals:
                    return
                self._readings.clear()
        self._readings.append((at_ms, totals))

    @property
    def idle(self) -> bool:
        """Nothing moved within the window, so further equal readings would change nothing."""
        return len(self._readings) >= 2 and self._readings[0][1] == self._readings[-1][1]

    def rate(self, index: int) -> float | None:
        """Of the ``index``-th counter, per second; ``None`` until two readings tell."""
        if len(self._readings) < 2:
            return None
        first_ms, first = self._readings[0]
        last_ms, last = self._readings[-1]
        grown = last[index] - first[index]
        if not grown:
            return 0.0
        return three_digits(grown * 1000 / (last_ms - first_ms))


def three_digits(value: float) -> float:
    """Rounded to what a person reads, so that noise below it changes no row."""
    if not value:
        return 0.0
    return round(value, 2 - math.floor(math.log10(abs(value))))
