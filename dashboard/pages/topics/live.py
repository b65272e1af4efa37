"""Live targets of the topic list and of one topic's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.http import QueryDict

from dashboard.live.replication_rows import PartitionRow
from dashboard.live.state import CLUSTER, TOPICS, TopicGroupRow, TopicRow, topic_scope
from dashboard.live.view import Fragment, View
from dashboard.pages.ids import row_id
from dashboard.pages.listing import Column, Listing

TOPIC_COLUMNS: dict[str, Column[TopicRow]] = {
    "name": Column(label="Topic", value=lambda row: row.name),
    "partitions": Column(label="Partitions", value=lambda row: row.partition_count, numeric=True, css="ot-wide"),
    "replicas": Column(
        label="Replicas",
        value=lambda row: row.replication_factor,
        numeric=True,
        css="ot-wide",
        title="Copies of each partition",
    ),
    "records": Column(
        label="Records",
        value=lambda row: row.records,
        numeric=True,
        css="ot-wide",
        title="Offsets between log start and high watermark; fewer records where a log has been compacted",
    ),
    "size": Column(label="Size", value=lambda row: row.size_bytes, numeric=True, css="ot-wide"),
    "in": Column(label="In", value=lambda row: row.records_in_rate, numeric=True, title="Records written per second"),
    "bytes": Column(label="Bytes in", value=lambda row: row.bytes_in_rate, numeric=True, css="ot-wide"),
    "last": Column(
        label="Last record",
        value=lambda row: row.last_record_ms if row.last_record_ms >= 0 else None,
        numeric=True,
        css="ot-wide",
        title="Largest timestamp of a record",
    ),
    "groups": Column(label="Groups", value=lambda row: row.group_count, numeric=True, css="ot-wide"),
    "lag": Column(
        label="Worst lag",
        value=lambda row: row.worst_lag,
        numeric=True,
        title="Records the slowest group has still to read",
    ),
}


class TopicsPage:
    """``?q=&sort=&page=&internal=1``."""

    name = "topics"
    subject = ""
    scopes: tuple[str, ...] = (CLUSTER, TOPICS)
    series: tuple[str, ...] = ()

    def __init__(self, query: QueryDict) -> None:
        self.internal = query.get("internal") == "1"
        self.listing: Listing[TopicRow] = Listing(query, TOPIC_COLUMNS, default_sort="name", name=lambda row: row.name)
        self._row_ids: dict[str, str] = {}
        self.internal_count = 0

    def arrange(self, view: View) -> None:
        rows = [row for row in view.rows(TOPICS).values() if isinstance(row, TopicRow)]
        self.internal_count = sum(row.internal for row in rows)
        self.listing.arrange(row for row in rows if self.internal or not row.internal)
        self._row_ids = {row_id("topic", row.name): row.key for row in self.listing.rows}

    def targets(self, view: View) -> Sequence[str]:
        return ("topics-verdict", "topics-body", "topics-foot")

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        if scope == CLUSTER:
            return {"topics-verdict"} if "head" in keys else set()
        known, now = before.rows(TOPICS), after.rows(TOPICS)
        if any((key in known) != (key in now) for key in keys):
            self.arrange(after)
            return {"topics-verdict", "topics-body", "topics-foot"}
        return {target for target, key in self._row_ids.items() if key in set(keys)}

    def fragment(self, view: View, target: str) -> Fragment | None:
        if target == "topics-verdict":
            rows = [row for row in view.rows(TOPICS).values() if isinstance(row, TopicRow) and not row.internal]
            context = {
                "total": len(rows),
                "offline": sum(row.offline for row in rows),
                "under_replicated": sum(row.under_replicated for row in rows),
                "partitions": sum(row.partition_count for row in rows),
                "brokers_online": view.brokers_online,
            }
            return Fragment(target=target, template="ottla/topics/verdict.html", context=context)
        if target in ("topics-body", "topics-foot"):
            template = f"ottla/topics/{target.removeprefix('topics-')}.html"
            return Fragment(target=target, template=template, context=self._body(view))
        row = view.row(TOPICS, self._row_ids.get(target, ""))
        if row is None:
            return None
        return Fragment(target=target, template="ottla/topics/row.html", context={"row": row})

    def _body(self, view: View) -> dict[str, object]:
        rows = [(target, view.row(TOPICS, key)) for target, key in self._row_ids.items()]
        return {
            "rows": [(target, row) for target, row in rows if row is not None],
            "listing": self.listing,
            "known": TOPICS in view.scopes,
            "internal": self.internal,
            "internal_count": self.internal_count,
        }


PARTITION_COLUMNS: dict[str, Column[PartitionRow]] = {
    "partition": Column(label="Partition", value=lambda row: row.partition),
    "leader": Column(label="Leader", value=lambda row: row.leader, title="The broker that reads and writes go to"),
    "isr": Column(
        label="In sync",
        value=lambda row: len(row.isr),
        css="ot-wide",
        title="Replicas that have everything acknowledged",
    ),
    "start": Column(
        label="Log start",
        value=lambda row: row.log_start_offset,
        numeric=True,
        css="ot-wide",
        title="First offset still kept",
    ),
    "hw": Column(
        label="High watermark", value=lambda row: row.high_watermark, numeric=True, title="Consumers read up to here"
    ),
    "end": Column(
        label="Log end",
        value=lambda row: row.log_end_offset,
        numeric=True,
        css="ot-wide",
        title="Offset of the next record",
    ),
    "in": Column(label="In", value=lambda row: row.records_in_rate, numeric=True, title="Records written per second"),
    "size": Column(label="Size", value=lambda row: row.size_bytes, numeric=True, css="ot-wide"),
    "segments": Column(label="Segments", value=lambda row: row.segment_count, numeric=True, css="ot-wide"),
}
TOPIC_TARGETS = ("topic-verdict", "topic-tiles")
PARTITION_TARGETS = ("partitions-body", "partitions-foot")


class TopicPage:
    """``?tab=&sort=&page=``; what a tab adds to the live targets is decided here."""

    name = "topic"

    def __init__(self, subject: str, query: QueryDict) -> None:
        self.subject = subject
        self.tab = query.get("tab") or "partitions"
        self._scope = topic_scope(subject)
        self.scopes: tuple[str, ...] = (CLUSTER, self._scope)
        self.series: tuple[str, ...] = (self._scope,)
        self.listing: Listing[PartitionRow] = Listing(
            query, PARTITION_COLUMNS, default_sort="partition", name=lambda row: f"{row.partition:06d}"
        )
        self._row_ids: dict[str, str] = {}

    def arrange(self, view: View) -> None:
        self.listing.arrange(row for row in view.rows(self._scope).values() if isinstance(row, PartitionRow))
        self._row_ids = {f"partition-{row.partition}": row.key for row in self.listing.rows}

    def targets(self, view: View) -> Sequence[str]:
        if self.tab == "partitions":
            return (*TOPIC_TARGETS, *PARTITION_TARGETS)
        return (*TOPIC_TARGETS, "topic-groups-body") if self.tab == "groups" else TOPIC_TARGETS

    def affected(self, before: View, after: View, scope: str, keys: Iterable[str]) -> Iterable[str]:
        if scope != self._scope:
            return set()
        changed = set(keys)
        known, now = before.rows(scope), after.rows(scope)
        if any((key in known) != (key in now) for key in changed):
            self.arrange(after)
            return set(self.targets(after))
        found = set(TOPIC_TARGETS) if "topic" in changed else set()
        if self.tab == "partitions":
            found |= {target for target, key in self._row_ids.items() if key in changed}
        if any(key.startswith("group:") for key in changed):
            found |= {"topic-verdict", "topic-groups-body"} if self.tab == "groups" else {"topic-verdict"}
        return found

    def topic(self, view: View) -> TopicRow | None:
        row = view.row(self._scope, "topic")
        return row if isinstance(row, TopicRow) else None

    def fragment(self, view: View, target: str) -> Fragment | None:
        topic = self.topic(view)
        context: dict[str, object] = {
            "topic": topic,
            "name": self.subject,
            "stale": topic is not None and view.stale(topic.source),
        }
        match target:
            case "topic-verdict" | "topic-tiles":
                groups = [row for row in view.rows(self._scope).values() if isinstance(row, TopicGroupRow)]
                context["behind"] = sorted(row.group_id for row in groups if row.level in ("warn", "bad"))
                return Fragment(
                    target=target, template=f"ottla/topic/{target.removeprefix('topic-')}.html", context=context
                )
            case "topic-groups-body":
                groups = [row for row in view.rows(self._scope).values() if isinstance(row, TopicGroupRow)]
                context["groups"] = sorted(groups, key=lambda row: row.group_id)
                return Fragment(target=target, template="ottla/topic/groups_body.html", context=context)
            case "partitions-body" | "partitions-foot":
                rows = [(row_target, view.row(self._scope, key)) for row_target, key in self._row_ids.items()]
                context |= {"rows": [pair for pair in rows if pair[1] is not None], "listing": self.listing}
                return Fragment(target=target, template=f"ottla/topic/{target.replace('-', '_')}.html", context=context)
            case _:
                row = view.row(self._scope, self._row_ids.get(target, ""))
                return (
                    Fragment(target=target, template="ottla/topic/partition_row.html", context={"row": row})
                    if row
                    else None
                )
