"""The text of per-client quotas: ``client-id:value,client-id:value``. Ottla's own, until there is a quota API.

A client id with a colon is fine, the last one counts; ``:5`` is for clients without an id; one with a comma cannot be
written this way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from broker.limits import QUOTA_OVERRIDES_MAX


def parse_overrides(text: str) -> Iterator[tuple[str, float]]:
    """(client id, positive value) of every item. Raises ``ValueError``."""
    for item in filter(None, (part.strip() for part in text.split(","))):
        client_id, colon, value = item.rpartition(":")
        if not colon or not float(value) > 0:
            raise ValueError(item)
        yield client_id, float(value)


def quota_overrides(value: Any) -> str | None:
    """The validator of the broker configs that hold such a text."""
    try:
        items = [client_id for client_id, _ in parse_overrides(value)]
    except ValueError:
        return "Must be a list of client-id:value with positive values"
    if len(set(items)) != len(items):
        return "A client id comes twice"
    return f"More than {QUOTA_OVERRIDES_MAX} client ids" if len(items) > QUOTA_OVERRIDES_MAX else None
