"""What a change of one config would be: typed as people write it, before and after. Pure.

A value set for one owner (a broker, all brokers, a group) wins over what is below: what is set for all brokers, what the
broker was started with, the default. Taking it away lets the next one act again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from broker.client.results import ConfigEntry
from dashboard.administration import units
from dashboard.pages.format import config_words


class Owner(Protocol):
    """Whose configs they are."""

    @property
    def name(self) -> str:
        """In a sentence: ``broker 1``, ``group billing``."""

    @property
    def own_source(self) -> str:
        """Where a value set for exactly this owner says it comes from."""

    @property
    def stronger_sources(self) -> frozenset[str]:
        """What may be told beside it, but wins over it: no fallback for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """``value`` ``None`` takes the own value away, so that what is below acts again."""

    entry: ConfigEntry
    owner: Owner
    value: str | None

    @property
    def before(self) -> str:
        own = own_value(self.entry, self.owner)
        return "not set here" if own is None else config_words(self.entry.name, own)

    @property
    def after(self) -> str:
        return "not set here" if self.value is None else config_words(self.entry.name, self.value)

    @property
    def inherited(self) -> str:
        """What acts once the own value is gone."""
        below = inherited_value(self.entry, self.owner)
        return "what it inherits" if below is None else config_words(self.entry.name, below)

    @property
    def changes_nothing(self) -> bool:
        return self.value == own_value(self.entry, self.owner)


def own_value(entry: ConfigEntry, owner: Owner) -> str | None:
    """What is set for exactly this owner."""
    return next((one.value for one in entry.synonyms if one.source == owner.own_source), None)


def inherited_value(entry: ConfigEntry, owner: Owner) -> str | None:
    """The next value below the owner's own one."""
    order = [one.source for one in entry.synonyms]
    below = order.index(owner.own_source) + 1 if owner.own_source in order else 0
    candidates = [one for one in entry.synonyms[below:] if one.source not in owner.stronger_sources]
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
