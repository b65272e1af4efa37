"""Time as an argument.

Owns the two clocks the broker may read. ``wall_ms`` is for record timestamps and retention; ``monotonic``
is for everything that measures a duration (deadlines, sessions), so a jump of the wall clock expires
nothing. Pure packages receive values; only drivers and composition hold a ``Clock``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch; may jump."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin; never goes back."""


class SystemClock:
    """The machine's clocks."""

    @staticmethod
    def wall_ms() -> int:
        return time.time_ns() // 1_000_000

    @staticmethod
    def monotonic() -> float:
        return time.monotonic()


def boot_id() -> str:
    """What distinguishes two boots of this machine; empty where the system does not tell. ``monotonic`` of one boot says
    nothing in another."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class ManualClock:
    """A clock that moves only when told to: for tests and simulation."""

    def __init__(self, wall_ms: int = 1_700_000_000_000) -> None:
        self._wall_ms = wall_ms
        self._monotonic = 1_000.0

    def wall_ms(self) -> int:
        return self._wall_ms

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, milliseconds: int) -> None:
        self._wall_ms += milliseconds
        self._monotonic += milliseconds / 1000

    def set_wall(self, wall_ms: int) -> None:
        """Jump the wall clock alone, as an operator or NTP step would."""
        self._wall_ms = wall_ms
