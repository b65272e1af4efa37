"""What a change of one broker config would be: typed as people write it, before and after. Pure.

A dynamic config is set for one broker or for all of them; the one for a single broker wins, then the one for all, then what
the broker was started with, then the default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.client.results import ConfigEntry, ConfigSynonym
from dashboard.administration import units
from dashboard.pages.format import config_words

ALL = "all"
"""In an address, in place of a broker's id."""
OWN_SOURCES = {False: "DYNAMIC_BROKER_CONFIG", True: "DYNAMIC_DEFAULT_BROKER_CONFIG"}
"""Where a value set for one broker, or for all of them, says it comes from."""


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
        return OWN_SOURCES[self.broker_id is None]


def read_target(slug: str) -> Target | None:
    if slug == ALL:
        return Target(broker_id=None)
    return Target(broker_id=int(slug)) if slug.isdecimal() and len(slug) < 10 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """``value`` ``None`` takes the own value away, so that what is below acts again."""

    entry: ConfigEntry
    target: Target
    value: str | None

    @property
    def before(self) -> str:
        own = own_value(self.entry, self.target)
        return "not set here" if own is None else config_words(self.entry.name, own)

    @property
    def after(self) -> str:
        return "not set here" if self.value is None else config_words(self.entry.name, self.value)

    @property
    def inherited(self) -> str:
        """What acts once the own value is gone."""
        below = inherited_value(self.entry, self.target)
        return "what it inherits" if below is None else config_words(self.entry.name, below)

    @property
    def changes_nothing(self) -> bool:
        return self.value == own_value(self.entry, self.target)


def own_value(entry: ConfigEntry, target: Target) -> str | None:
    """What is set for exactly this target."""
    return next((one.value for one in entry.synonyms if one.source == target.own_source), None)


def inherited_value(entry: ConfigEntry, target: Target) -> str | None:
    """The next value below the target's own one."""
    order = [one.source for one in entry.synonyms]
    below = order.index(target.own_source) + 1 if target.own_source in order else 0
    candidates: Sequence[ConfigSynonym] = entry.synonyms[below:]
    if target.broker_id is None:
        # What a single broker has set is above what is set for all.
        candidates = [one for one in candidates if one.source != OWN_SOURCES[False]]
    return next((one.value for one in candidates if one.value is not None), None)


def read_value(entry: ConfigEntry, text: str) -> str:
    """``7 d`` of a ``.ms`` config and ``1 GiB`` of a ``.bytes`` one become numbers. Raises ``ValueError`` with a sentence."""
    text = text.strip()
    if entry.type not in ("INT", "LONG") or not text:
        return text
    if entry.name.endswith(".ms"):
        return str(units.parse_duration_ms(text))
    if entry.name.endswith(".bytes"):
        return str(units.parse_size_bytes(text))
    return text


def typed_value(entry: ConfigEntry, value: str | None) -> str:
    """The inverse: what the field starts with."""
    if value is None:
        return ""
    words = config_words(entry.name, value)
    try:
        return words if read_value(entry, words) == value else value
    except ValueError:
        return value
