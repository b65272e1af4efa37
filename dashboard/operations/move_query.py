"""What a move asks for, as read from and written to an address. Pure.

``?topic=a&topic=b`` or ``?partitions=a-0,a-3`` chooses; ``to=spread&broker=1&broker=2&factor=2`` or ``to=exactly&replicas=1,2``
says where; ``throttle=10 MiB`` how fast.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.http import QueryDict

from dashboard.administration import units

PARTITIONS_MAX = 1_000
"""Of one move from the pages; more are for the command line or for evening out."""
THROTTLE_BYTES_MIN = 64 * 1024
_PARTITION = re.compile(r"^(?P<topic>.+)-(?P<partition>\d{1,6})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveQuery:
    topics: tuple[str, ...] = ()
    partitions: str = ""
    """As typed."""
    to: str = ""
    brokers: tuple[int, ...] = ()
    factor: int | None = None
    replicas: tuple[int, ...] = ()
    throttle: int | None = None
    typed: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, set[int] | None] = field(default_factory=dict)
    """Topic → its partitions, ``None`` for all."""


def read_move(query: QueryDict) -> MoveQuery:
    errors: dict[str, str] = {}
    topics = tuple(dict.fromkeys(name for name in query.getlist("topic") if name))
    chosen: dict[str, set[int] | None] = dict.fromkeys(topics)
    typed = query.get("partitions", "").strip()
    for text in filter(None, re.split(r"[\s,]+", typed)):
        found = _PARTITION.match(text)
        if found is None:
            errors["partitions"] = f"“{text}” is not a partition: write it as topic-0, several with commas between."
            break
        numbers = chosen.setdefault(found["topic"], set())
        if numbers is not None:
            numbers.add(int(found["partition"]))
    to = query.get("to", "")
    to = to if to in ("spread", "exactly") else ""
    brokers = _numbers(query.getlist("broker"))
    replicas = _numbers(re.split(r"[\s,]+", query.get("replicas", "").strip()))
    if to and not chosen and "partitions" not in errors:
        errors["topics"] = "Choose at least one topic or partition."
    if to == "spread" and not brokers:
        errors["brokers"] = "Choose at least one broker."
    if to == "exactly" and not replicas:
        errors["replicas"] = "Write the brokers' numbers with commas between, the preferred leader first: 2, 1, 3."
    return MoveQuery(
        topics=topics,
        partitions=typed,
        to=to,
        brokers=brokers,
        factor=_factor(query.get("factor", ""), errors),
        replicas=replicas,
        throttle=_throttle(query.get("throttle", ""), errors),
        typed={name: query.get(name, "") for name in ("factor", "replicas", "throttle")},
        errors=errors,
        chosen=chosen,
    )


def _numbers(texts: list[str]) -> tuple[int, ...]:
    return tuple(int(text) for text in texts if text.isdecimal() and len(text) < 10)


def _factor(text: str, errors: dict[str, str]) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text[:4]) <= 100:
        errors["factor"] = "A number of replicas, or nothing to keep as many as there are."
        return None
    return int(text[:4])


def _throttle(text: str, errors: dict[str, str]) -> int | None:
    text = text.strip().removesuffix("/s").strip()
    if not text:
        return None
    try:
        value = units.parse_size_bytes(text)
    except ValueError as error:
        errors["throttle"] = str(error)
        return None
    if value < THROTTLE_BYTES_MIN:
        errors["throttle"] = "Slower than 64 KiB a second it would never end."
        return None
    return value
