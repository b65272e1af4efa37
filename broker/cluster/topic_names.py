"""Which names a topic may have, in Kafka's words."""

from __future__ import annotations

import re

from broker.config.definition import quoted
from broker.limits import TOPIC_NAME_LENGTH_MAX

_LEGAL = re.compile(r"[a-zA-Z0-9._-]+")


def refuse_topic_name(name: str) -> str | None:
    """Why ``name`` may not be a topic's, or None."""
    reason = _reason(name)
    return None if reason is None else f"Topic name is invalid: {reason}"


def _reason(name: str) -> str | None:
    if not name:
        return "the empty string is not allowed"
    if name in (".", ".."):
        return f"'{name}' is not allowed"
    if len(name) > TOPIC_NAME_LENGTH_MAX:
        return f"the length of '{quoted(name)}' is longer than the max allowed length {TOPIC_NAME_LENGTH_MAX}"
    if not _LEGAL.fullmatch(name):
        return f"'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    return None


def collision_key(name: str) -> str:
    """Two names with one key collide: metric systems write both ``.`` and ``_`` as ``_``."""
    return name.replace(".", "_")
