"""What goes with a topic when it is deleted, told before anybody confirms it."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.live.state import GROUPS, TOPICS, GroupRow, TopicRow
from dashboard.live.store import StoreError, readable_store
from dashboard.live.view import View
from dashboard.pages import format as words


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    known: bool
    """False when the live data does not tell; then nothing below means anything."""
    records: str = "—"
    size: str = "—"
    groups: tuple[str, ...] = ()
    """"name, lag" of every group that reads it."""


def effects_of_deletion(name: str) -> Effects:
    try:
        view = View.of(readable_store().read([TOPICS, GROUPS]))
    except StoreError:
        return Effects(known=False)
    row = view.row(TOPICS, f"topic:{name}")
    if not isinstance(row, TopicRow):
        return Effects(known=False)
    readers = [group for group in view.rows(GROUPS).values() if isinstance(group, GroupRow) and name in group.topics]
    return Effects(
        known=True,
        records="—" if row.records is None else words.count(row.records),
        size="—" if row.size_bytes is None else words.size(row.size_bytes),
        groups=tuple(
            f"{group.group_id}, {'lag unknown' if group.lag is None else f'{words.count(group.lag)} behind'}"
            for group in readers
        ),
    )
