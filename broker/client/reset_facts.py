"""What an offset reset has to know before it decides: who is in the group, and where logs and commits stand.

Used by ``manage.py groups reset-offsets`` and by the dashboard, so that both refuse for the same reasons. Decides nothing:
``offset_reset`` does.

What must stay true: nothing is committed while the group has members. Callers look at ``Activity`` first, so that they can
say so in words; the broker refuses as well, in case somebody joins in between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.client.blocking import Client
from broker.client.groups import DEAD
from broker.client.offset_reset import PartitionFacts, ResetRefused, Strategy, ToTime
from broker.client.results import GroupDescription
from broker.client.topics import EARLIEST, LATEST
from broker.errors import ErrorCode, KafkaError
from broker.types import TopicPartition

STATES_WITHOUT_MEMBERS = frozenset({"Empty", "Dead", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Whether anybody reads with the group now."""

    exists: bool
    """A group that does not exist has no members: committing to it creates it."""
    state: str
    members: int | None
    """``None``: there are some, but this client cannot count them (a type of group it does not know)."""
    type: str

    @property
    def is_idle(self) -> bool:
        return not self.members and self.state in STATES_WITHOUT_MEMBERS


def exists(group: GroupDescription) -> bool:
    """Raises ``KafkaError`` when the coordinator could not say."""
    if group.error is ErrorCode.GROUP_ID_NOT_FOUND or (group.error is ErrorCode.NONE and group.state == DEAD):
        return False
    if group.error:
        raise KafkaError(group.error, f"group {group.group_id!r}: {group.error_message}")
    return True


def activity_of(client: Client, group_id: str) -> Activity:
    group = client.describe_groups([group_id])[group_id]
    if exists(group):
        return Activity(exists=True, state=group.state, members=len(group.members), type=group.type)
    # Of a type DescribeGroups does not know, or not there at all.
    listed = next((one for one in client.list_groups() if one.group_id == group_id), None)
    if listed is None:
        return Activity(exists=False, state="", members=0, type="")
    return Activity(exists=True, state=listed.state, members=None, type=listed.type)


def committed_offsets(client: Client, group_id: str) -> dict[TopicPartition, int]:
    return {TopicPartition(one.topic, one.partition): one.offset for one in client.group_offsets(group_id)}


def gather(
    client: Client, group_id: str, partitions: Iterable[TopicPartition], strategy: Strategy
) -> list[PartitionFacts]:
    """What the strategy needs to know. Raises ``ResetRefused`` for a partition that does not exist."""
    committed = committed_offsets(client, group_id)
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(set(partitions)):
        topics.setdefault(topic, []).append(partition)
    facts: list[PartitionFacts] = []
    for topic, wanted in topics.items():
        _require_partitions(client, topic, wanted)
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


def _require_partitions(client: Client, topic: str, wanted: list[int]) -> None:
    found = next((one for one in client.metadata([topic]).topics if one.name == topic), None)
    error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if found is None else found.error
    if found is None or error:
        raise ResetRefused(f"topic {topic!r}: {error.message}")
    absent = [partition for partition in wanted if partition >= len(found.partitions)]
    if absent:
        raise ResetRefused(
            f"topic {topic!r} has {len(found.partitions)} partition(s), no {', '.join(map(str, absent))}"
        )
