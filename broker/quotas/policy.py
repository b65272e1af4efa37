"""Who may do how much: one limit for everybody and others for single client ids. Pure.

A client id without a limit of its own has the default, and has it for itself: the default is not shared. ``None`` means
no limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from broker.config.definition import LONG_MAX
from broker.config.quota import parse_overrides


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaPolicy:
    default: float | None = None
    overrides: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, default: float, overrides: str) -> QuotaPolicy:
        """From two broker configs; the largest value there is stands for no limit."""
        return cls(
            default=_limit(default),
            overrides=dict(parse_overrides(overrides)),
        )

    @property
    def active(self) -> bool:
        """Whether anybody has a limit."""
        return self.default is not None or bool(self.overrides)

    def limit(self, client_id: str) -> float | None:
        value = self.overrides.get(client_id)
        return self.default if value is None else _limit(value)


def _limit(value: float) -> float | None:
    return None if value >= LONG_MAX or math.isinf(value) else value
