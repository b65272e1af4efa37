"""The "Messages" tab: a page of records for the query in the URL, and what it cost to find them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from broker.client.results import Record
from dashboard.gateway import gateway
from dashboard.messages import reading
from dashboard.messages.payload import Kind, preview, read_payload
from dashboard.messages.query import LIMITS, STARTS, Query, read_query, read_zone
from dashboard.messages.reading import Reading, Request

RECENT = (("15 min ago", 15 * 60), ("1 h ago", 3600), ("1 d ago", 86_400))
KEY_PREVIEW_LENGTH = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One record in the list."""

    record: Record
    key: str
    key_kind: Kind
    value: str
    value_kind: Kind
    url: str

    @property
    def element_id(self) -> str:
        return f"m-{self.record.partition}-{self.record.offset}"


def messages_tab(request: HttpRequest, name: str) -> dict[str, Any]:
    """Context of the tab. Raises ``GatewayError``."""
    query = read_query(request.GET, default_zone=settings.TIME_ZONE)
    partitions = partition_numbers(name)
    errors = {**query.errors, **_partition_error(query, partitions)}
    context: dict[str, Any] = {
        "query": query,
        "errors": errors,
        "starts": STARTS,
        "limits": LIMITS,
        "partitions": partitions,
        "zones": _zones(query),
        "recent": _recent(query),
        "clear_url": query.url(q=None),
    }
    if errors:
        return context
    found = read(name, query, partitions)
    return {**context, "reading": found, "rows": rows(name, shown_records(query, found)), **_pages(query, found)}


def partition_numbers(name: str) -> list[int]:
    return sorted(partition.partition for partition in gateway().topic(name).partitions)


def read(name: str, query: Query, partitions: Iterable[int]) -> Reading:
    """The query's page. Raises ``GatewayError``."""
    chosen = tuple(partitions) if query.partition is None else (query.partition,)
    return reading.read(
        gateway(),
        Request(
            topic=name,
            partitions=chosen,
            limit=query.limit,
            goes_back=query.goes_back,
            starts=_starts(name, query, chosen),
            predicate=query.predicate,
        ),
    )


def shown_records(query: Query, found: Reading) -> list[Record]:
    """In the order of the screen, whichever way they were read."""
    return list(found.records) if query.goes_back == query.newest_first else list(reversed(found.records))


def rows(name: str, records: Iterable[Record]) -> list[Row]:
    return [
        Row(
            record=record,
            key=preview(record.key, KEY_PREVIEW_LENGTH),
            key_kind=read_payload(record.key).kind,
            value=preview(record.value),
            value_kind=read_payload(record.value).kind,
            url=reverse("message", args=[name, record.partition, record.offset]),
        )
        for record in records
    ]


def _starts(name: str, query: Query, partitions: tuple[int, ...]) -> dict[int, int] | None:
    if query.positions:
        return dict(query.positions)
    if query.offset is not None:
        return dict.fromkeys(partitions, query.offset)
    if query.at_ms is not None:
        at_time = gateway().list_offsets(name, dict.fromkeys(partitions, query.at_ms))
        ends = gateway().list_offsets(name, dict.fromkeys(partitions, reading.LATEST))
        # A partition without a record at or after that time begins at its end: nothing of it is shown.
        return {one: at_time[one].offset if at_time[one].offset >= 0 else ends[one].offset for one in partitions}
    return None


def _pages(query: Query, found: Reading) -> dict[str, str]:
    return {
        "older_url": query.page_url(found.lows, goes_back=True) if found.has_older else "",
        "newer_url": query.page_url(found.highs, goes_back=False) if found.has_newer else "",
    }


def _partition_error(query: Query, partitions: list[int]) -> dict[str, str]:
    if query.partition is None or query.partition in partitions:
        return {}
    return {"partition": f"This topic has no partition {query.partition}."}


def _zones(query: Query) -> list[str]:
    """What the zone list offers; the page adds the browser's own."""
    return list(dict.fromkeys(zone for zone in (query.typed.get("zone", ""), settings.TIME_ZONE, "UTC") if zone))


def _recent(query: Query) -> list[tuple[str, str]]:
    """(words, address) of starting points people mean most often."""
    zone = query.typed.get("zone") or settings.TIME_ZONE
    try:
        now = timezone.now().astimezone(read_zone(zone))
    except ValueError:
        zone, now = "UTC", timezone.now()
    return [
        (words, query.url(**{"from": "time", "time": _minute(now, seconds), "zone": zone, "offset": None}))
        for words, seconds in RECENT
    ]


def _minute(now: datetime, seconds: int) -> str:
    return datetime.fromtimestamp(now.timestamp() - seconds, tz=now.tzinfo).strftime("%Y-%m-%dT%H:%M:%S")
