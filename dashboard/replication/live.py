"""Live targets of the Replication page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.http import QueryDict

from dashboard.live import rendering
from dashboard.live.replication_rows import EventRow, LinkRow, PartitionRow, ReplicationRow
from dashboard.live.state import CLUSTER, EVENTS, REPLICATION, BrokerRow, HeadRow, Row
from dashboard.live.view import Fragment, View
from dashboard.pages.listing import Column, Listing
from dashboard.replication.matrix import matrix
from dashboard.replication.timeline import RANGES, read_range, timeline

COLUMNS: dict[str, Column[PartitionRow]] = {
    "partition": Column(label="Partition", value=lambda row: (row.topic, row.partition)),
    "condition": Column(label="Condition", value=lambda row: _severity(row)),
    "leader": Column(label="Leader", value=lambda row: row.leader, title="Leader, then its epoch"),
    "isr": Column(
        label="In sync",
        value=lambda row: len(row.isr),
        css="ot-wide",
        title="Replicas that have everything acknowledged; dashed: not in sync",
    ),
    "lag": Column(
        label="Behind", value=lambda row: row.worst_lag, numeric=True, title="Records its slowest follower lacks"
    ),
    "changed": Column(
        label="Since",
        value=lambda row: row.changed_at_ms if row.changed_at_ms >= 0 else None,
        numeric=True,
        css="ot-wide",
        title="When leader, in-sync set or replicas changed last",
    ),
}
EVENT_COLUMNS: dict[str, Column[EventRow]] = {
    "at": Column(label="When", value=lambda row: row.number),
    "what": Column(label="What", value=lambda row: row.kind),
    "brokers": Column(label="Brokers", value=lambda row: (row.before, row.after)),
    "where": Column(label="Where", value=lambda row: row.count, css="ot-wide"),
    "cause": Column(label="Because", value=lambda row: row.cause),
}
SHOWN = {
    "": "All",
    "offline": "Offline",
    "min-isr": "Refuse acks=all",
    "under-replicated": "Under-replicated",
    "moving": "Being moved",
    "elsewhere": "Not led by the preferred",
    "unclean": "Unclean elections",
}
TARGETS = (
    "replication-verdict",
    "replication-tiles",
    "replication-matrix",
    "replication-chips",
    "replication-body",
    "replication-foot",
    "replication-timeline",
    "replication-events",
    "replication-events-foot",
)


def _severity(row: PartitionRow) -> int:
    return (
        4 * row.offline + 3 * (row.under_min_isr and not row.offline) + 2 * row.under_replicated + row.reassigning
    ) * -1


def _is_shown(row: PartitionRow, show: str) -> bool:
    match show:
        case "offline":
            return row.offline
        case "min-isr":
            return row.under_min_isr
        case "under-replicated":
            return row.under_replicated
        case "moving":
            return row.reassigning
        case "elsewhere":
            return row.led_elsewhere
        case "unclean":
            return row.had_unclean_election
        case _:
            return True


class ReplicationPage:
    """``?show=&q=&sort=&page=&range=&epage=``; the filter is for partitions and events alike."""

    name = "replication"
    subject = ""
    scopes: tuple[str, ...] = (CLUSTER, REPLICATION, EVENTS)
    series: tuple[str, ...] = ()

    def __init__(self, query: QueryDict) -> None:
        self.show = query.get("show", "") if query.get("show", "") in SHOWN else ""
        self.range = read_range(query.get("range", ""))
        self.listing: Listing[PartitionRow] = Listing(
            query, COLUMNS, default_sort="condition", name=lambda row: row.name, default_descending=False
        )
        self.events: Listing[EventRow] = Listing(
            query, EVENT_COLUMNS, default_sort="at", name=_event_text, default_descending=True, prefix="e"
        )
        self.events.filter = self.listing.filter
        self._keys: list[str] = []

    def arrange(self, view: View) -> None:
        rows = {
            key: row
            for key, row in view.rows(REPLICATION).items()
            if isinstance(row, PartitionRow) and _is_shown(row, self.show)
        }
        self.listing.arrange(rows.values())
        self._keys = [f"{row.topic}:{row.key}" for row in self.listing.rows]

    def targets(self, view: View) -> Sequence[str]:
        return TARGETS

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        changed = set(keys)
        if scope == CLUSTER:
            found = {"replication-verdict"} if "head" in changed else set()
            return found | ({"replication-matrix"} if _answering(before) != _answering(after) else set())
        if scope == EVENTS:
            return {"replication-timeline", "replication-events", "replication-events-foot"}
        found = {"replication-verdict", "replication-tiles", "replication-chips"} if "replication" in changed else set()
        if any(key.startswith("link:") for key in changed):
            found.add("replication-matrix")
        partitions = {key for key in changed if ":partition:" in key}
        known, now = before.rows(REPLICATION), after.rows(REPLICATION)
        if any(self._shows(known.get(key)) != self._shows(now.get(key)) for key in partitions):
            self.arrange(after)
            found |= {"replication-body", "replication-foot"}
        elif partitions & set(self._keys):
            found.add("replication-body")
        return found

    def _shows(self, row: Row | None) -> bool:
        """Whether it is there and passes the filter."""
        return isinstance(row, PartitionRow) and _is_shown(row, self.show)

    def fragment(self, view: View, target: str) -> Fragment | None:
        if target not in TARGETS:
            return None
        part = target.removeprefix("replication-")
        context: dict[str, Any] = {"listing": self.listing, "known": REPLICATION in view.scopes}
        head, counts = view.row(CLUSTER, "head"), view.row(REPLICATION, "replication")
        context["head"] = head if isinstance(head, HeadRow) else HeadRow()
        context["counts"] = counts if isinstance(counts, ReplicationRow) else ReplicationRow()
        match part:
            case "matrix":
                links = [row for row in view.rows(REPLICATION).values() if isinstance(row, LinkRow)]
                context["matrix"] = matrix(_brokers(view), links)
            case "chips":
                context["chips"] = self._chips(view)
            case "body":
                rows = [view.row(REPLICATION, key) for key in self._keys]
                context["rows"] = [row for row in rows if isinstance(row, PartitionRow)]
                context["show"] = SHOWN[self.show] if self.show else ""
            case "timeline" | "events" | "events-foot":
                context |= self._timeline(view)
            case _:
                pass
        return Fragment(target=target, template=f"ottla/replication/{part.replace('-', '_')}.html", context=context)

    def _chips(self, view: View) -> list[tuple[str, int, str, bool]]:
        """(words, how many, value of ``show``, whether it is on). Counts are of what is listed; tiles have all."""
        rows = [row for row in view.rows(REPLICATION).values() if isinstance(row, PartitionRow)]
        return [
            (words, sum(_is_shown(row, show) for row in rows), show, show == self.show) for show, words in SHOWN.items()
        ]

    def _timeline(self, view: View) -> dict[str, Any]:
        rows = [row for row in view.rows(EVENTS).values() if isinstance(row, EventRow)]
        self.events.arrange(rows)
        needle = self.events.filter.casefold()
        matching = [row for row in rows if needle in _event_text(row).casefold()]
        return {
            "timeline": timeline(matching, rendering.wall_ms(), self.range),
            "ranges": [(slug, words, slug == self.range) for slug, (_, words) in RANGES.items()],
            "range": self.range,
            "listing": self.events,
            "known": EVENTS in view.scopes,
        }


def _event_text(event: EventRow) -> str:
    places = " ".join(f"{place.topic}-{place.partition}" for place in event.places)
    return f"{places} {event.kind} {event.cause}"


def _brokers(view: View) -> list[BrokerRow]:
    return [row for row in view.rows(CLUSTER).values() if isinstance(row, BrokerRow)]


def _answering(view: View) -> list[tuple[object, ...]]:
    """What the matrix shows of each broker itself."""
    return [(row.id, row.online, row.state, row.leaders, bool(row.replicas)) for row in _brokers(view)]
