"""``manage.py groups reset-offsets``: gather the facts, let ``offset_reset`` decide, commit the plan.

What must stay true: nothing is committed while the group has members. This looks first, so that it can say so in
words; the broker refuses as well, in case somebody joins in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from broker.client.blocking import Client
from broker.client.results import GroupDescription
from broker.client.topics import EARLIEST, LATEST
from broker.commandline.groups import exists, partition_count
from broker.commandline.offset_reset import PartitionFacts, PlannedOffset, Strategy, ToTime
from broker.commandline.outcome import CommandFailed
from broker.commandline.output import column
from broker.errors import ErrorCode
from broker.types import TopicPartition

Row = dict[str, Any]

STATES_WITHOUT_MEMBERS = frozenset({"Empty", "Dead", ""})
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
    """A group that does not exist has none: committing to it creates it."""
    group: GroupDescription = client.describe_groups([group_id])[group_id]
    state, members = group.state, f"{len(group.members)} member(s)"
    if not exists(group):
        # Of a type DescribeGroups does not know, or not there at all.
        listed = next((one for one in client.list_groups() if one.group_id == group_id), None)
        state, members = ("", "") if listed is None else (listed.state, "members")
    if group.members or state not in STATES_WITHOUT_MEMBERS:
        raise CommandFailed(
            f"group {group_id!r} is {state} with {members}: stop them first, their next commit would undo the reset"
        )


def committed_offsets(client: Client, group_id: str) -> dict[TopicPartition, int]:
    return {TopicPartition(one.topic, one.partition): one.offset for one in client.group_offsets(group_id)}


def gather(
    client: Client, group_id: str, partitions: Iterable[TopicPartition], strategy: Strategy
) -> list[PartitionFacts]:
    """What the strategy needs to know. Raises ``CommandFailed`` for a partition that does not exist."""
    committed = committed_offsets(client, group_id)
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(set(partitions)):
        topics.setdefault(topic, []).append(partition)
    facts: list[PartitionFacts] = []
    for topic, wanted in topics.items():
        count = partition_count(client, topic)
        absent = [partition for partition in wanted if partition >= count]
        if absent:
            raise CommandFailed(f"topic {topic!r} has {count} partition(s), no {', '.join(map(str, absent))}")
        starts = client.list_offsets(topic, dict.fromkeys(wanted, EARLIEST))
        ends = client.list_offsets(topic, dict.fromkeys(wanted, LATEST))
        by_time = (
            client.list_offsets(topic, dict.fromkeys(wanted, strategy.timestamp_ms))
            if isinstance(strategy, ToTime)
            else {}
        )
        facts += [
            PartitionFacts(
                topic_partition=TopicPartition(topic, partition),
                log_start=starts[partition].offset,
                log_end=ends[partition].offset,
                committed=committed.get(TopicPartition(topic, partition)),
                at_time=by_time[partition].offset if partition in by_time else None,
            )
            for partition in wanted
        ]
    return facts


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
