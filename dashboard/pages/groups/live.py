"""Live targets of the group list and of one group's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.http import QueryDict

from dashboard.live.state import CLUSTER, GROUPS, GroupRow, MemberRow, OffsetRow, group_scope
from dashboard.live.view import Fragment, View
from dashboard.pages.ids import row_id
from dashboard.pages.listing import Column, Listing

LEVEL_ORDER = {"bad": 4, "warn": 3, "unknown": 2, "good": 1, "idle": 0}

GROUP_COLUMNS: dict[str, Column[GroupRow]] = {
    "name": Column(label="Group", value=lambda row: row.group_id),
    "verdict": Column(label="Verdict", value=lambda row: LEVEL_ORDER[row.level], numeric=False),
    "type": Column(
        label="Protocol",
        value=lambda row: row.type,
        css="ot-wide",
        title="Classic: members assign partitions among themselves. New (KIP-848): the broker does",
    ),
    "state": Column(label="State", value=lambda row: row.state, css="ot-wide"),
    "members": Column(label="Members", value=lambda row: row.member_count, numeric=True, css="ot-wide"),
    "topics": Column(label="Topics", value=lambda row: len(row.topics), numeric=True, css="ot-wide"),
    "lag": Column(label="Lag", value=lambda row: row.lag, numeric=True, title="Records still to be read"),
    "behind": Column(
        label="Behind",
        value=lambda row: 0 if row.lag == 0 else -row.behind_since_ms if row.behind_since_ms >= 0 else None,
        numeric=True,
        title="Age of the next record to be read",
    ),
}


class GroupsPage:
    """``?q=&sort=&page=``."""

    name = "groups"
    subject = ""
    scopes: tuple[str, ...] = (CLUSTER, GROUPS)
    series: tuple[str, ...] = ()

    def __init__(self, query: QueryDict) -> None:
        self.listing: Listing[GroupRow] = Listing(
            query, GROUP_COLUMNS, default_sort="name", name=lambda row: row.group_id
        )
        self._row_ids: dict[str, str] = {}

    def arrange(self, view: View) -> None:
        self.listing.arrange(row for row in view.rows(GROUPS).values() if isinstance(row, GroupRow))
        self._row_ids = {row_id("group", row.group_id): row.key for row in self.listing.rows}

    def targets(self, view: View) -> Sequence[str]:
        return ("groups-verdict", "groups-body", "groups-foot")

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        if scope != GROUPS:
            return set()
        changed = set(keys)
        known, now = before.rows(GROUPS), after.rows(GROUPS)
        if any((key in known) != (key in now) for key in changed):
            self.arrange(after)
            return {"groups-verdict", "groups-body", "groups-foot"}
        return {"groups-verdict"} | {target for target, key in self._row_ids.items() if key in changed}

    def fragment(self, view: View, target: str) -> Fragment | None:
        if target == "groups-verdict":
            rows = [row for row in view.rows(GROUPS).values() if isinstance(row, GroupRow)]
            troubled = sorted(row.group_id for row in rows if row.level in ("warn", "bad"))
            context: dict[str, object] = {
                "total": len(rows),
                "troubled": troubled,
                "brokers_online": view.brokers_online,
            }
            return Fragment(target=target, template="ottla/groups/verdict.html", context=context)
        if target in ("groups-body", "groups-foot"):
            rows_shown = [(row_target, view.row(GROUPS, key)) for row_target, key in self._row_ids.items()]
            context = {
                "rows": [pair for pair in rows_shown if pair[1] is not None],
                "listing": self.listing,
                "known": GROUPS in view.scopes,
            }
            return Fragment(
                target=target, template=f"ottla/groups/{target.removeprefix('groups-')}.html", context=context
            )
        row = view.row(GROUPS, self._row_ids.get(target, ""))
        return (
            Fragment(target=target, template="ottla/groups/row.html", context={"row": row}) if row is not None else None
        )


OFFSET_COLUMNS: dict[str, Column[OffsetRow]] = {
    "partition": Column(label="Partition", value=lambda row: (row.topic, row.partition)),
    "owner": Column(label="Member", value=lambda row: row.owner_client or None, css="ot-wide"),
    "committed": Column(
        label="Committed",
        value=lambda row: row.committed if row.committed >= 0 else None,
        numeric=True,
        title="The next offset the group will read",
    ),
    "end": Column(
        label="End",
        value=lambda row: row.end if row.end >= 0 else None,
        numeric=True,
        css="ot-wide",
        title="High watermark: where a group that is caught up stands",
    ),
    "lag": Column(label="Lag", value=lambda row: row.lag, numeric=True, title="Records still to be read"),
    "behind": Column(
        label="Behind",
        value=lambda row: 0 if row.lag == 0 else -row.behind_since_ms if row.behind_since_ms >= 0 else None,
        numeric=True,
        css="ot-wide",
        title="Age of the next record to be read",
    ),
    "committed-at": Column(
        label="Last commit",
        value=lambda row: row.committed_at_ms if row.committed_at_ms >= 0 else None,
        numeric=True,
        css="ot-wide",
    ),
}
GROUP_TARGETS = ("group-verdict", "group-tiles", "group-members-body", "offsets-body", "offsets-foot")


class GroupPage:
    """``?q=&sort=&page=`` of the offsets table."""

    name = "group"

    def __init__(self, subject: str, query: QueryDict) -> None:
        self.subject = subject
        self._scope = group_scope(subject)
        self.scopes: tuple[str, ...] = (CLUSTER, self._scope)
        self.series: tuple[str, ...] = (self._scope,)
        self.listing: Listing[OffsetRow] = Listing(
            query, OFFSET_COLUMNS, default_sort="partition", name=lambda row: f"{row.topic}-{row.partition:06d}"
        )
        self._row_ids: dict[str, str] = {}

    def arrange(self, view: View) -> None:
        self.listing.arrange(row for row in view.rows(self._scope).values() if isinstance(row, OffsetRow))
        self._row_ids = {row_id("offset", row.key): row.key for row in self.listing.rows}

    def targets(self, view: View) -> Sequence[str]:
        return GROUP_TARGETS

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        if scope != self._scope:
            return set()
        changed = set(keys)
        known, now = before.rows(scope), after.rows(scope)
        if any((key in known) != (key in now) for key in changed):
            self.arrange(after)
            return set(GROUP_TARGETS)
        found = {target for target, key in self._row_ids.items() if key in changed}
        if "group" in changed:
            found |= {"group-verdict", "group-tiles"}
        if "group" in changed or any(key.startswith("member:") for key in changed):
            # What is said of a member depends on the group's type and epoch.
            found.add("group-members-body")
        return found

    def group(self, view: View) -> GroupRow | None:
        row = view.row(self._scope, "group")
        return row if isinstance(row, GroupRow) else None

    def fragment(self, view: View, target: str) -> Fragment | None:
        context: dict[str, object] = {"group": self.group(view), "name": self.subject}
        match target:
            case "group-verdict" | "group-tiles":
                return Fragment(
                    target=target, template=f"ottla/group/{target.removeprefix('group-')}.html", context=context
                )
            case "group-members-body":
                members = [row for row in view.rows(self._scope).values() if isinstance(row, MemberRow)]
                context["members"] = sorted(members, key=lambda row: (row.client_id, row.member_id))
                return Fragment(target=target, template="ottla/group/members_body.html", context=context)
            case "offsets-body" | "offsets-foot":
                rows = [(row_target, view.row(self._scope, key)) for row_target, key in self._row_ids.items()]
                context |= {"rows": [pair for pair in rows if pair[1] is not None], "listing": self.listing}
                return Fragment(target=target, template=f"ottla/group/{target.replace('-', '_')}.html", context=context)
            case _:
                row = view.row(self._scope, self._row_ids.get(target, ""))
                return (
                    Fragment(target=target, template="ottla/group/offset_row.html", context={"row": row})
                    if row
                    else None
                )
