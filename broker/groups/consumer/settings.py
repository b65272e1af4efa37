"""What a consumer group obeys: broker configs, and its own group configs where it has any.

Owns: the shape. ``groups/driver.py`` says which values hold for a group now.
"""

from __future__ import annotations

from dataclasses import dataclass

UNIFORM, RANGE = "uniform", "range"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 5_000
    assignment_interval_ms: int = 1_000
    """The least time between two computations of targets, so that a hundred members that start do not cause a hundred."""
    size_max: int = 2**31 - 1
    assignors: tuple[str, ...] = (UNIFORM, RANGE)
    """The first is that of members who name none."""
    regex_refresh_interval_ms: int = 600_000
    may_upgrade: bool = True
    """Classic groups turn into consumer groups when the first member of the new protocol joins."""
    may_downgrade: bool = True
    """… and back when the last one leaves."""


DEFAULT_SETTINGS = ConsumerSettings()
