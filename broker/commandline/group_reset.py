"""``manage.py groups reset-offsets``: refuse while somebody reads, commit the plan, show it.

The facts come from ``client.reset_facts``, the plan from ``client.offset_reset``: the dashboard uses the same two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from broker.client.blocking import Client
from broker.client.offset_reset import PlannedOffset
from broker.client.reset_facts import activity_of
from broker.commandline.outcome import CommandFailed
from broker.commandline.output import column
from broker.errors import ErrorCode
from broker.types import TopicPartition

Row = dict[str, Any]

COLUMNS = (
    column("Topic", "topic"),
    column("Partition", "partition", right=True),
    column("First", "log_start", right=True),
    column("End", "log_end", right=True),
    column("Committed", "committed", right=True),
    column("New", "new", right=True),
    column("Change", "change", right=True),
    column("Note", "note"),
    column("Refused", "error"),
)


def require_no_members(client: Client, group_id: str) -> None:
    activity = activity_of(client, group_id)
    if not activity.is_idle:
        members = "members" if activity.members is None else f"{activity.members} member(s)"
        raise CommandFailed(
            f"group {group_id!r} is {activity.state} with {members}: "
            "stop them first, their next commit would undo the reset"
        )


def execute(client: Client, group_id: str, plan: Sequence[PlannedOffset]) -> dict[TopicPartition, ErrorCode]:
    """Commit the plan; the refusals."""
    outcomes = client.commit_group_offsets(group_id, {planned.topic_partition: planned.new for planned in plan})
    return {partition: code for partition, code in outcomes.items() if code}


def rows(plan: Iterable[PlannedOffset], refused: dict[TopicPartition, ErrorCode] | None = None) -> list[Row]:
    return [_row(planned, (refused or {}).get(planned.topic_partition)) for planned in plan]


def _row(planned: PlannedOffset, refusal: ErrorCode | None) -> Row:
    return {
        "topic": planned.topic_partition.topic,
        "partition": planned.topic_partition.partition,
        "log_start": planned.log_start,
        "log_end": planned.log_end,
        "committed": planned.committed,
        "new": planned.new,
        "change": planned.change,
        "note": planned.note,
        "error": None if refusal is None else f"{refusal.name}: {refusal.message}",
    }
