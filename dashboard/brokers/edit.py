"""Whose configs an address of the broker pages means. Pure.

A dynamic config is set for one broker or for all of them; the one for a single broker wins, then the one for all, then what
the broker was started with, then the default.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL = "all"
"""In an address, in place of a broker's id."""
ONE_SOURCE = "DYNAMIC_BROKER_CONFIG"
ALL_SOURCE = "DYNAMIC_DEFAULT_BROKER_CONFIG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whose configs they are."""

    broker_id: int | None
    """``None``: of all brokers at once."""

    @property
    def slug(self) -> str:
        return ALL if self.broker_id is None else str(self.broker_id)

    @property
    def name(self) -> str:
        return "all brokers" if self.broker_id is None else f"broker {self.broker_id}"

    @property
    def own_source(self) -> str:
        return ALL_SOURCE if self.broker_id is None else ONE_SOURCE

    @property
    def stronger_sources(self) -> frozenset[str]:
        """What a single broker has set is above what is set for all."""
        return frozenset({ONE_SOURCE}) if self.broker_id is None else frozenset()


def read_target(slug: str) -> Target | None:
    if slug == ALL:
        return Target(broker_id=None)
    return Target(broker_id=int(slug)) if slug.isdecimal() and len(slug) < 10 else None
