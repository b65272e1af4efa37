"""What every row of the live state has in common: the base type and how a thing is doing."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Level: TypeAlias = Literal["good", "warn", "bad", "idle", "unknown"]
"""How a thing is doing; each has a colour, an icon and a word on every page."""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t"):
    """Base of all rows; ``t`` names the type on the wire."""
