"""The "Segments" tab of a topic: one partition's files, on an axis of offsets or of time, and what will delete them.

Live by polling: the leader is asked for one partition's segments every two seconds while somebody looks. The same
function makes the page's context and the poll's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from broker.compaction.plan import first_dirty_offset
from broker.compaction.plan import plan_partition as plan_partition_compaction
from broker.protocol.private import PartitionInventory
from broker.retention.forecast import Fate, forecast
from broker.retention.plan import deletes, plan_partition, policies
from dashboard.administration.units import parse_duration_ms, parse_size_bytes
from dashboard.gateway import gateway
from dashboard.live.replication_rows import PartitionRow
from dashboard.live.state import topic_scope
from dashboard.live.store import StoreError, readable_store
from dashboard.pages.listing import Column, Listing
from dashboard.pages.topics.tabs import Tab, register_tab
from dashboard.segments.strip import offset_strip, time_strip

AXES = {"offset": "Offsets", "time": "Time"}
CHIPS_MAX = 24
"""More partitions than that are chosen from a list."""
COLUMNS: dict[str, Column[Fate]] = {
    "base": Column(label="Offsets", value=lambda fate: fate.segment.base_offset),
    "records": Column(
        label="Records",
        value=lambda fate: fate.segment.end_offset - fate.segment.base_offset,
        numeric=True,
        css="ot-wide",
        title="Offsets from the first to the last; fewer records where a log has been compacted",
    ),
    "size": Column(label="Size", value=lambda fate: fate.segment.size_bytes, numeric=True),
    "first": Column(
        label="First record",
        value=lambda fate: fate.segment.first_timestamp_ms if fate.segment.first_timestamp_ms >= 0 else None,
        numeric=True,
        css="ot-wide",
        title="Timestamp of its first batch",
    ),
    "last": Column(
        label="Newest record",
        value=lambda fate: fate.segment.max_timestamp_ms if fate.segment.max_timestamp_ms >= 0 else None,
        numeric=True,
        css="ot-wide",
        title="Largest timestamp in it: its age counts from here",
    ),
    "goes": Column(label="Goes", value=lambda fate: fate.at_ms, title="Which rule will delete it, and when"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """What other limits would delete now."""

    age: str = ""
    size: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    segments: int = 0
    bytes: int = 0

    @property
    def asked(self) -> bool:
        return bool(self.age or self.size) and not self.errors


def segments_tab(request: HttpRequest, name: str) -> dict[str, Any]:
    """Context of the tab. Raises ``GatewayError``."""
    partitions = sorted(one.partition for one in gateway().topic(name).partitions)
    chosen = _chosen(request.GET, partitions)
    axis = request.GET.get("axis", "")
    axis = axis if axis in AXES else "offset"
    query = request.GET.copy()
    query["tab"] = "segments"
    inventory, now_ms, leader = gateway().segments(name, chosen)
    compacts = "compact" in policies(inventory)
    cleaned = gateway().compaction(name, chosen, leader) if compacts else None
    rate = _growth(name, chosen)
    fates = forecast(inventory, now_ms, rate)
    listing: Listing[Fate] = Listing(
        query, COLUMNS, default_sort="base", name=lambda fate: f"{fate.segment.base_offset:020d}"
    )
    listing.arrange(fates)
    return {
        "partitions": partitions,
        "partition": chosen,
        "as_chips": len(partitions) <= CHIPS_MAX,
        "partition_links": [(one, _url(query, partition=str(one), page=None)) for one in partitions],
        "axis": axis,
        "axis_links": [(label, slug == axis, _url(query, axis=slug)) for slug, label in AXES.items()],
        "inventory": inventory,
        "now_ms": now_ms,
        "rate": rate,
        "strip": time_strip(inventory, fates, now_ms)
        if axis == "time"
        else offset_strip(inventory, fates, now_ms, first_dirty_offset(cleaned) if cleaned is not None else -1),
        "listing": listing,
        "size_bytes": sum(segment.size_bytes for segment in inventory.segments),
        "next_fate": next((fate for fate in fates if fate.at_ms is not None and not fate.held), None),
        "due": [fate for fate in fates if fate.is_due(now_ms)],
        "deletes": deletes(inventory),
        "compacts": compacts,
        "cleaned": cleaned,
        "cleaning": plan_partition_compaction(cleaned, now_ms, on_demand=True) if cleaned is not None else None,
        "cleaning_due": cleaned is not None and plan_partition_compaction(cleaned, now_ms) is not None,
        "what_if": what_if(inventory, now_ms, request.GET),
        "part_url": f"{reverse('topic-segments', args=[name])}?{query.urlencode()}",
    }


def register() -> None:
    """Called once the apps are ready."""
    register_tab(
        Tab(slug="segments", label="Segments", template="ottla/segments/tab.html", fetch=segments_tab, order=15)
    )


def what_if(inventory: PartitionInventory, now_ms: int, query: QueryDict) -> WhatIf:
    """Limits that are only tried: nothing is changed."""
    age, size = query.get("age", "").strip()[:40], query.get("size", "").strip()[:40]
    limits: dict[str, int] = {}
    errors: dict[str, str] = {}
    for name, text, parse in (("age", age, parse_duration_ms), ("size", size, parse_size_bytes)):
        try:
            if text:
                limits["retention_ms" if name == "age" else "retention_bytes"] = parse(text)
        except ValueError as error:
            errors[name] = str(error)
    if errors or not limits:
        return WhatIf(age=age, size=size, errors=errors)
    tried = msgspec.structs.replace(inventory, cleanup_policy="delete", **limits)
    planned = plan_partition(tried, now_ms)
    return WhatIf(
        age=age,
        size=size,
        segments=sum(deletion.segments for deletion in planned),
        bytes=sum(deletion.bytes for deletion in planned),
    )


def _chosen(query: QueryDict, partitions: Sequence[int]) -> int:
    """The partition of the address, or the first; one that does not exist is for the gateway to refuse."""
    text = query.get("partition", "")
    return int(text) if text.isdecimal() and len(text) < 10 else partitions[0] if partitions else 0


def _growth(name: str, partition: int) -> float | None:
    """Record bytes a second as last sampled; ``None`` when nobody knows."""
    try:
        rows = readable_store().read([topic_scope(name)]).rows(topic_scope(name))
    except StoreError:
        return None
    row = rows.get(PartitionRow(topic=name, partition=partition).key)
    return row.bytes_in_rate if isinstance(row, PartitionRow) else None


def _url(query: QueryDict, **changes: str | None) -> str:
    values = {key: query.get(key, "") for key in query}
    for key, value in changes.items():
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
    return f"?{urlencode(values)}"
