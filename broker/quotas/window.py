"""A rate over sliding windows, as Kafka's ``Rate`` over ``SampledStat`` measures it. Pure.

Theory of operation. Time is cut into samples of ``sample_ms``; a sample begins with the first value recorded after the
one before it was full, so an idle client has none. Samples older than ``sample_count × sample_ms`` are dropped. The
rate is their sum over the time since the oldest began, which counts as at least ``sample_count - 1`` full samples: a
client that was silent may burst, and is judged over the whole window.

Who has a rate above its limit waits until, without a further value, the rate over the window and the waiting time
together would have been the limit: ``(rate - limit) / limit × window``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpec:
    sample_count: int = 11
    """``quota.window.num``."""
    sample_ms: int = 1_000
    """``quota.window.size.seconds``."""

    @property
    def span_ms(self) -> int:
        return self.sample_count * self.sample_ms

    @property
    def least_ms(self) -> int:
        """The shortest time a rate is measured over."""
        return max(self.sample_count - 1, 1) * self.sample_ms


class RateWindow:
    """``len(samples) ≤ sample_count``; the youngest is last."""

    __slots__ = ("_samples", "last_ms")

    def __init__(self) -> None:
        self._samples: deque[list[float]] = deque()
        """[began at, sum]."""
        self.last_ms = 0
        """When a value was last recorded: who is silent for longer than the span has no rate."""

    def record(self, value: float, now_ms: int, spec: WindowSpec) -> None:
        self._drop_old(now_ms, spec)
        self.last_ms = now_ms
        samples = self._samples
        if samples and now_ms - samples[-1][0] < spec.sample_ms:
            samples[-1][1] += value
        else:
            samples.append([now_ms, value])

    def rate(self, now_ms: int, spec: WindowSpec) -> float:
        """Values per second."""
        self._drop_old(now_ms, spec)
        return sum(sample[1] for sample in self._samples) * 1_000 / self.window_ms(now_ms, spec)

    def window_ms(self, now_ms: int, spec: WindowSpec) -> int:
        """What the rate is measured over now. Positive."""
        if not self._samples:
            return spec.least_ms
        elapsed_ms = now_ms - int(self._samples[0][0])
        missing = max(0, spec.sample_count - 1 - elapsed_ms // spec.sample_ms)
        return max(elapsed_ms + missing * spec.sample_ms, 1)

    def wait_ms(self, limit: float, now_ms: int, spec: WindowSpec) -> int:
        """How long to wait for the rate to have been ``limit``, which is positive; 0 when it is not above it."""
        rate = self.rate(now_ms, spec)
        return 0 if rate <= limit else round((rate - limit) / limit * self.window_ms(now_ms, spec))

    def _drop_old(self, now_ms: int, spec: WindowSpec) -> None:
        samples = self._samples
        while samples and now_ms - samples[0][0] >= spec.span_ms:
            samples.popleft()
