"""How long to wait before a process that died is started again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 30.0
STABLE_SECONDS = 30.0
"""A process that stayed up this long has recovered: its next failure counts as the first again."""


@dataclass(slots=True)
class Backoff:
    failures: int = 0
    """Failures in a row, none of them after a stable run."""

    def next_delay(self, uptime_seconds: float) -> float:
        """Doubles from half a second to half a minute while the process keeps failing early."""
        if uptime_seconds >= STABLE_SECONDS:
            self.failures = 0
        delay = min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** min(self.failures, 16))
        self.failures += 1
        return delay

    def reset(self) -> None:
        self.failures = 0
