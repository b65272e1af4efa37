"""The overview's live targets. All of it comes from the ``cluster`` scope."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dashboard.live.state import CLUSTER, AlertRow, BrokerRow, GroupRow, HeadRow, TopicRow
from dashboard.live.view import Fragment, View

TARGETS = {
    "overview-health": "ottla/overview/health.html",
    "overview-tiles": "ottla/overview/tiles.html",
    "overview-alerts": "ottla/overview/alerts.html",
    "overview-brokers": "ottla/overview/brokers.html",
    "overview-topics": "ottla/overview/topics.html",
    "overview-groups": "ottla/overview/groups.html",
}
BY_KIND = {
    "head": ("overview-health", "overview-tiles", "overview-brokers"),
    "broker": ("overview-brokers",),
    "topic": ("overview-topics",),
    "group": ("overview-groups",),
    "alert": ("overview-alerts", "overview-tiles"),
}


class OverviewPage:
    name = "overview"
    subject = ""
    scopes: tuple[str, ...] = (CLUSTER,)
    series: tuple[str, ...] = ("cluster",)

    def arrange(self, view: View) -> None:
        """The collector chose the rows."""

    def targets(self, view: View) -> Sequence[str]:
        return tuple(TARGETS)

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        return {target for key in keys for target in BY_KIND.get(key.partition(":")[0], ())}

    def fragment(self, view: View, target: str) -> Fragment | None:
        template = TARGETS.get(target)
        return Fragment(target=target, template=template, context=self._context(view)) if template else None

    def _context(self, view: View) -> dict[str, Any]:
        rows = view.rows(CLUSTER)
        head = rows.get("head")
        return {
            "head": head if isinstance(head, HeadRow) else HeadRow(),
            "brokers": [row for row in rows.values() if isinstance(row, BrokerRow)],
            "alerts": sorted((row for row in rows.values() if isinstance(row, AlertRow)), key=_worst_first),
            "topics": sorted((row for row in rows.values() if isinstance(row, TopicRow)), key=lambda row: row.name),
            "groups": sorted((row for row in rows.values() if isinstance(row, GroupRow)), key=lambda row: row.group_id),
        }


def _worst_first(alert: AlertRow) -> tuple[bool, int, str]:
    return alert.level != "bad", alert.since_ms, alert.name
