"""Live targets of the Controller page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dashboard.live.replication_rows import ControllerRow, PartitionRow
from dashboard.live.state import CLUSTER, CONTROL, REPLICATION, BrokerRow
from dashboard.live.view import Fragment, View

TARGETS = ("controller-verdict", "controller-tiles", "controller-work", "controller-sessions", "controller-elections")
MOVES_SHOWN_MAX = 20


class ControllerPage:
    name = "controller"
    subject = ""
    scopes: tuple[str, ...] = (CLUSTER, CONTROL, REPLICATION)
    series: tuple[str, ...] = ()

    def arrange(self, view: View) -> None:
        """In the order of the rows' own keys, always."""

    def targets(self, view: View) -> Sequence[str]:
        return TARGETS

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        changed = set(keys)
        if scope == CONTROL:
            return set(TARGETS)
        if scope == CLUSTER:
            return {"controller-sessions"} if _sessions(before) != _sessions(after) else set()
        return {"controller-work"} if any(":partition:" in key for key in changed) else set()

    def fragment(self, view: View, target: str) -> Fragment | None:
        if target not in TARGETS:
            return None
        part = target.removeprefix("controller-")
        row = view.row(CONTROL, ControllerRow.KEY)
        control = row if isinstance(row, ControllerRow) else ControllerRow()
        context: dict[str, Any] = {"control": control, "known": CONTROL in view.scopes}
        if part == "work":
            rows = view.rows(REPLICATION).values()
            moves = sorted(
                (row for row in rows if isinstance(row, PartitionRow) and row.reassigning),
                key=lambda row: (row.topic, row.partition),
            )
            context |= {"moves": moves[:MOVES_SHOWN_MAX], "more_moves": max(0, control.reassigning - MOVES_SHOWN_MAX)}
        if part in ("sessions", "work"):
            context["brokers"] = [row for row in view.rows(CLUSTER).values() if isinstance(row, BrokerRow)]
        return Fragment(target=target, template=f"ottla/controller/{part}.html", context=context)


def _sessions(view: View) -> list[tuple[object, ...]]:
    """What the table of sessions shows of each broker."""
    return [
        (row.id, row.online, row.live, row.state, row.epoch, row.incarnation, row.store_trouble, row.is_controller)
        for row in view.rows(CLUSTER).values()
        if isinstance(row, BrokerRow)
    ]
