"""What the message browser is asked for, read from the URL and written back to it. Pure.

``from`` says where reading starts: ``newest``, ``oldest``, ``offset`` (with ``offset=``) or ``time`` (with ``time=``
and ``zone=``). Turning a page keeps all that and adds ``at``, the position in every partition, and ``go``, the way to
read from there. Whatever is wrong is a sentence in ``errors`` under the name of its field.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from urllib.parse import urlencode

from django.http import QueryDict

from dashboard.messages.predicate import FilterError, Predicate, parse

STARTS = {
    "newest": "the newest",
    "oldest": "the oldest",
    "offset": "an offset",
    "time": "a time",
}
LIMITS = (20, 50, 100, 250, 500)
LIMIT_DEFAULT = 50
OFFSET_MAX = 2**63 - 1
PAGED_PARTITIONS_MAX = 100
"""Positions in more partitions would make an address nobody can paste."""

_OFFSET_ZONE = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?")
_POSITION = re.compile(r"(\d{1,10})-(\d{1,19})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    start: str
    partition: int | None
    """``None`` is all of them."""
    offset: int | None
    at_ms: int | None
    limit: int
    predicate: Predicate
    positions: Mapping[int, int]
    """Where a turned page starts, per partition; empty on the first."""
    goes_back: bool
    """Towards lower offsets."""
    typed: Mapping[str, str]
    """The fields as they were filled in."""
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def newest_first(self) -> bool:
        """The order on the screen, which turning pages does not change."""
        return self.start == "newest"

    def url(self, **changes: str | None) -> str:
        """This query's address, with other fields; a change of what is asked for starts on the first page."""
        values = {**self.typed, **{name: value or "" for name, value in changes.items()}}
        return f"?{urlencode({'tab': 'messages', **{name: value for name, value in values.items() if value}})}"

    def page_url(self, positions: Mapping[int, int], *, goes_back: bool) -> str:
        """Empty when there are too many partitions for an address."""
        if len(positions) > PAGED_PARTITIONS_MAX:
            return ""
        at = "_".join(f"{partition}-{offset}" for partition, offset in sorted(positions.items()))
        return self.url(at=at, go="older" if goes_back else "newer")


def read_query(given: QueryDict | Mapping[str, str], *, default_zone: str) -> Query:
    errors: dict[str, str] = {}
    start = given.get("from") or "newest"
    if start not in STARTS:
        start = "newest"
    typed = {
        name: value
        for name in ("from", "partition", "offset", "time", "zone", "limit", "q")
        if (value := (given.get(name) or "").strip())
    }
    try:
        predicate = parse(typed.get("q", ""))
    except FilterError as error:
        predicate, errors["q"] = Predicate(), str(error)
    positions = _positions(given.get("at") or "")
    return Query(
        start=start,
        partition=_partition(typed, errors),
        offset=_offset(typed, errors) if start == "offset" else None,
        at_ms=read_time(typed, default_zone, errors) if start == "time" else None,
        limit=_limit(typed.get("limit", "")),
        predicate=predicate,
        positions=positions,
        goes_back=(given.get("go") == "older") if positions else start == "newest",
        typed=typed,
        errors=errors,
    )


def _partition(typed: Mapping[str, str], errors: dict[str, str]) -> int | None:
    text = typed.get("partition", "")
    if not text or text == "all":
        return None
    if text.isdecimal() and len(text) <= 10:
        return int(text)
    errors["partition"] = "A partition is a number."
    return None


def _offset(typed: Mapping[str, str], errors: dict[str, str]) -> int | None:
    text = typed.get("offset", "").replace(",", "").replace("_", "")
    if text.isdecimal() and len(text) <= 19 and int(text) <= OFFSET_MAX:
        return int(text)
    errors["offset"] = "Write the offset to start at." if not text else "An offset is a whole number from 0."
    return None


def _limit(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 5 and int(text) in LIMITS else LIMIT_DEFAULT


def read_time(typed: Mapping[str, str], default_zone: str, errors: dict[str, str]) -> int | None:
    """Milliseconds since 1970 of the fields ``time`` and ``zone``; what is wrong with them goes into ``errors``."""
    text = typed.get("time", "")
    if not text:
        errors["time"] = "Write the time to start at."
        return None
    try:
        zone = read_zone(typed.get("zone", "") or default_zone)
    except ValueError as error:
        errors["zone"] = str(error)
        return None
    try:
        moment = datetime.fromisoformat(text)
        milliseconds = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp() * 1000
    except (ValueError, OverflowError):
        errors["time"] = "Write a date and a time, such as 2026-01-31 14:05."
        return None
    if milliseconds < 0:
        errors["time"] = "The time is before 1970."
        return None
    return round(milliseconds)


def read_zone(name: str) -> tzinfo:
    """``Europe/Berlin``, ``UTC``, ``+02:00``. Raises ``ValueError`` with a sentence."""
    if name in ("UTC", "Z"):
        return UTC
    match = _OFFSET_ZONE.fullmatch(name)
    if match is not None and int(match[2]) < 24 and int(match[3] or 0) < 60:
        delta = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
        return timezone(-delta if match[1] == "-" else delta)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"This server knows no time zone called {name}. Write UTC or an offset such as +02:00."
        ) from None


def _positions(text: str) -> dict[int, int]:
    """``0-120_1-88``; anything else is no position, and the first page is shown."""
    found: dict[int, int] = {}
    for part in text.split("_")[: PAGED_PARTITIONS_MAX + 1] if text else ():
        match = _POSITION.fullmatch(part)
        if match is None or int(match[2]) > OFFSET_MAX:
            return {}
        found[int(match[1])] = int(match[2])
    return found
