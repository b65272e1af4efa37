"""Live targets of the broker list and of one broker's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.http import QueryDict

from dashboard.live.replication_rows import ReplicaRow
from dashboard.live.state import CLUSTER, BrokerRow, HeadRow, Row, broker_scope
from dashboard.live.view import Fragment, View
from dashboard.pages.ids import row_id
from dashboard.pages.listing import Column, Listing

BROKERS_TARGETS = ("brokers-verdict", "brokers-body")


class BrokersPage:
    """Every broker that takes part, that did, or that is meant to keep something."""

    name = "brokers"
    subject = ""
    scopes: tuple[str, ...] = (CLUSTER,)
    series: tuple[str, ...] = ()

    def arrange(self, view: View) -> None:
        """By id, always."""

    def targets(self, view: View) -> Sequence[str]:
        return BROKERS_TARGETS

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        kinds = {key.partition(":")[0] for key in keys}
        return {
            target
            for target, kind in (("brokers-verdict", "head"), ("brokers-verdict", "broker"), ("brokers-body", "broker"))
            if kind in kinds
        }

    def fragment(self, view: View, target: str) -> Fragment | None:
        if target not in BROKERS_TARGETS:
            return None
        head = view.row(CLUSTER, "head")
        rows = [row for row in view.rows(CLUSTER).values() if isinstance(row, BrokerRow)]
        context = {"head": head if isinstance(head, HeadRow) else HeadRow(), "brokers": rows, "uneven": _uneven(rows)}
        return Fragment(target=target, template=f"ottla/{target.replace('-', '/')}.html", context=context)


def _uneven(rows: list[BrokerRow]) -> list[int]:
    """Brokers that lead or keep far more or less than an even share, while all that take part are well."""
    return [
        row.id
        for row in rows
        if any(abs(skew) >= UNEVEN_PERCENT for skew in (row.leader_skew, row.replica_skew) if skew is not None)
    ]


UNEVEN_PERCENT = 25.0

REPLICA_COLUMNS: dict[str, Column[ReplicaRow]] = {
    "partition": Column(label="Partition", value=lambda row: (row.topic, row.partition)),
    "role": Column(label="Here", value=lambda row: (not row.leads, row.joining, row.leaving)),
    "sync": Column(
        label="In sync", value=lambda row: row.in_sync, title="Whether this broker has everything that was acknowledged"
    ),
    "leader": Column(label="Leader", value=lambda row: row.leader, css="ot-wide"),
    "lag": Column(label="Behind", value=lambda row: row.lag, numeric=True, title="Records it has still to copy"),
    "in": Column(
        label="In",
        value=lambda row: row.records_in_rate,
        numeric=True,
        css="ot-wide",
        title="Records a second, where it leads",
    ),
    "size": Column(label="Size", value=lambda row: row.size_bytes, numeric=True, title="Of its own copy"),
}
SHOWN = {
    "": "All",
    "leads": "Leads",
    "out": "Out of sync",
    "alone": "Only copy in sync",
    "not-preferred": "Should lead and does not",
}
BROKER_TARGETS = ("broker-verdict", "broker-tiles", "broker-facts", "broker-chips", "broker-replicas", "broker-foot")


def _is_shown(row: ReplicaRow, show: str) -> bool:
    match show:
        case "leads":
            return row.leads
        case "out":
            return not row.in_sync and not row.joining
        case "alone":
            return row.only_copy_in_sync
        case "not-preferred":
            return row.preferred and not row.leads
        case _:
            return True


class BrokerPage:
    """``?show=&q=&sort=&page=`` of its partitions."""

    name = "broker"

    def __init__(self, subject: str, query: QueryDict) -> None:
        self.subject = subject
        self._scope = broker_scope(int(subject) if subject.isdecimal() and len(subject) < 10 else -1)
        self.scopes: tuple[str, ...] = (CLUSTER, self._scope)
        self.series: tuple[str, ...] = ()
        self.show = query.get("show", "") if query.get("show", "") in SHOWN else ""
        self.listing: Listing[ReplicaRow] = Listing(
            query, REPLICA_COLUMNS, default_sort="partition", name=lambda row: f"{row.topic}-{row.partition}"
        )
        self._row_ids: dict[str, str] = {}

    def arrange(self, view: View) -> None:
        self.listing.arrange(row for row in self._replicas(view) if _is_shown(row, self.show))
        self._row_ids = {row_id("replica", row.key): row.key for row in self.listing.rows}

    def targets(self, view: View) -> Sequence[str]:
        return BROKER_TARGETS

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        changed = set(keys)
        if scope == CLUSTER:
            return {"broker-verdict", "broker-tiles", "broker-facts"} if self._scope in changed else set()
        known, now = before.rows(scope), after.rows(scope)
        if any(self._shows(known.get(key)) != self._shows(now.get(key)) for key in changed):
            self.arrange(after)
            return set(BROKER_TARGETS)
        found = {target for target, key in self._row_ids.items() if key in changed}
        if any(key.startswith("replica:") and _summary(known[key]) != _summary(now[key]) for key in changed):
            found |= {"broker-chips", "broker-verdict"}
        return found

    def _shows(self, row: Row | None) -> tuple[bool, bool]:
        """(whether it is there, whether it passes the filter)."""
        return row is not None, isinstance(row, ReplicaRow) and _is_shown(row, self.show)

    def broker(self, view: View) -> BrokerRow | None:
        row = view.row(CLUSTER, self._scope)
        return row if isinstance(row, BrokerRow) else None

    def _replicas(self, view: View) -> list[ReplicaRow]:
        return [row for row in view.rows(self._scope).values() if isinstance(row, ReplicaRow)]

    def fragment(self, view: View, target: str) -> Fragment | None:
        if target not in BROKER_TARGETS:
            row = view.row(self._scope, self._row_ids.get(target, ""))
            return Fragment(target=target, template="ottla/broker/replica.html", context={"row": row}) if row else None
        part = target.removeprefix("broker-")
        context: dict[str, Any] = {"broker": self.broker(view), "number": self.subject, "listing": self.listing}
        replicas = self._replicas(view)
        if part == "verdict":
            context["alone"] = sum(row.only_copy_in_sync for row in replicas)
        if part == "chips":
            context["chips"] = [
                (words, sum(_is_shown(row, show) for row in replicas), show, show == self.show)
                for show, words in SHOWN.items()
            ]
        if part in ("replicas", "foot"):
            rows = [(row_target, view.row(self._scope, key)) for row_target, key in self._row_ids.items()]
            context |= {"rows": [pair for pair in rows if pair[1] is not None], "show": SHOWN.get(self.show, "")}
            context["known"] = self._scope in view.scopes
        return Fragment(target=target, template=f"ottla/broker/{part}.html", context=context)


def _summary(row: object) -> tuple[bool, ...]:
    """What the counts over all its partitions are made from."""
    if not isinstance(row, ReplicaRow):
        return ()
    return row.leads, row.in_sync, row.joining, row.only_copy_in_sync, row.preferred
