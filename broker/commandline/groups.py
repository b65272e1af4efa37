"""``manage.py groups``: who is in a group, how far it has read, and what it may forget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from broker.client.blocking import Client
from broker.client.reset_facts import exists
from broker.client.results import CommittedOffset, GroupDescription, GroupListing, GroupMember, ListedOffset
from broker.client.topics import EARLIEST, LATEST
from broker.commandline.outcome import CommandFailed
from broker.commandline.output import column
from broker.errors import ErrorCode, KafkaError
from broker.types import TopicPartition

Row = dict[str, Any]

STATES = (
    "Empty",
    "PreparingRebalance",
    "CompletingRebalance",
    "Assigning",
    "Reconciling",
    "NotReady",
    "Stable",
    "Dead",
)
TYPES = ("classic", "consumer", "share", "streams")
LIST_COLUMNS = (
    column("Group", "group"),
    column("State", "state"),
    column("Type", "type"),
    column("Protocol type", "protocol_type"),
)
OFFSET_COLUMNS = (
    column("Topic", "topic"),
    column("Partition", "partition", right=True),
    column("Committed", "committed", right=True),
    column("End", "log_end", right=True),
    column("Lag", "lag", right=True),
    column("Member", "member_id"),
    column("Client", "client_id"),
    column("Host", "host"),
)
MEMBER_COLUMNS = (
    column("Member", "member_id"),
    column("Instance", "instance_id"),
    column("Client", "client_id"),
    column("Host", "host"),
    column("Partitions", "partition_count", right=True),
    column("Assignment", "assignment"),
)
MODERN_MEMBER_COLUMNS = (
    *MEMBER_COLUMNS[:-2],
    column("Protocol", "protocol"),
    column("Epoch", "epoch", right=True),
    *MEMBER_COLUMNS[-2:],
    column("Target", "target"),
)
"""Of a group of type ``consumer``: what a member has beside what it is to have."""
STATE_COLUMNS = (
    column("Group", "group"),
    column("State", "state"),
    column("Type", "type"),
    column("Assignor", "protocol"),
    column("Epoch", "epoch", right=True),
    column("Target epoch", "assignment_epoch", right=True),
    column("Coordinator", "coordinator", right=True),
    column("Members", "member_count", right=True),
    column("Lag", "lag", right=True),
)
DELETED_OFFSET_COLUMNS = (
    column("Topic", "topic"),
    column("Partition", "partition", right=True),
    column("Outcome", "outcome"),
    column("Reason", "error"),
)
DELETED_GROUP_COLUMNS = (column("Group", "group"), column("Outcome", "outcome"), column("Reason", "error"))


def list_groups(client: Client, *, states: Iterable[str] = (), types: Iterable[str] = ()) -> list[Row]:
    """Only those in one of ``states`` and of one of ``types``, if any are given."""
    wanted_states, wanted_types = {state.lower() for state in states}, {kind.lower() for kind in types}
    return [
        {
            "group": group.group_id,
            "state": group.state,
            "type": group.type,
            "protocol_type": group.protocol_type,
        }
        for group in client.list_groups()
        if (not wanted_states or group.state.lower() in wanted_states)
        and (not wanted_types or group.type.lower() in wanted_types)
    ]


def describe_groups(client: Client, group_ids: Sequence[str]) -> list[Row]:
    """All groups without ids. Raises ``CommandFailed`` when one that was named does not exist."""
    listed = {group.group_id: group for group in client.list_groups()}
    wanted = list(dict.fromkeys(group_ids)) or list(listed)
    described = client.describe_groups(wanted)
    missing = [group_id for group_id in wanted if group_id not in listed and not exists(described[group_id])]
    if missing:
        raise CommandFailed(f"no such group: {', '.join(missing)}")
    ends = _Ends(client)
    return [_describe(client, described[group_id], listed.get(group_id), ends) for group_id in wanted]


def delete_groups(client: Client, group_ids: Iterable[str]) -> list[Row]:
    rows: list[Row] = []
    for group_id in dict.fromkeys(group_ids):
        try:
            client.delete_group(group_id)
            rows.append({"group": group_id, "outcome": "deleted", "error": None})
        except KafkaError as error:
            rows.append({"group": group_id, "outcome": "refused", "error": f"{error.code.name}: {error.message}"})
    return rows


def delete_offsets(client: Client, group_id: str, partitions: Iterable[TopicPartition]) -> list[Row]:
    """Raises ``KafkaError`` for what concerns the whole group."""
    outcomes = client.delete_group_offsets(group_id, partitions)
    return [
        {
            "group": group_id,
            "topic": topic,
            "partition": partition,
            "outcome": "refused" if code else "deleted",
            "error": f"{code.name}: {code.message}" if code else None,
        }
        for (topic, partition), code in sorted(outcomes.items())
    ]


def partitions_of(
    client: Client, wanted: Mapping[str, tuple[int, ...] | None], *, among: Iterable[TopicPartition] | None = None
) -> list[TopicPartition]:
    """Topics with partitions, or all of them, spelled out. ``among``: what counts as all; default what the topic has."""
    found: list[TopicPartition] = []
    known = None if among is None else list(among)
    for topic, partitions in wanted.items():
        if partitions is None:
            partitions = (
                tuple(range(partition_count(client, topic)))
                if known is None
                else tuple(partition for name, partition in known if name == topic)
            )
        found += [TopicPartition(topic, partition) for partition in partitions]
    return found


def partition_count(client: Client, topic: str) -> int:
    """Raises ``CommandFailed`` for a topic that does not exist."""
    found = next((one for one in client.metadata([topic]).topics if one.name == topic), None)
    error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if found is None else found.error
    if found is None or error:
        raise CommandFailed(f"topic {topic!r}: {error.message}")
    return len(found.partitions)


# Describing ----------------------------------------------------------------------------------------


def _describe(client: Client, group: GroupDescription, listing: GroupListing | None, ends: _Ends) -> Row:
    """A group that is listed but not described is of a type DescribeGroups does not know: its members stay unknown."""
    if listing is not None and not exists(group):
        group = replace(group, state=listing.state, protocol_type=listing.protocol_type)
    committed = {TopicPartition(one.topic, one.partition): one for one in client.group_offsets(group.group_id)}
    owners = {partition: member for member in group.members for partition in member.assignment}
    offsets = [
        _offset(partition, committed.get(partition), owners.get(partition), ends)
        for partition in sorted({*committed, *owners})
    ]
    lags = [row["lag"] for row in offsets if row["lag"] is not None]
    return {
        "group": group.group_id,
        "state": group.state,
        "type": "" if listing is None else listing.type,
        "protocol_type": group.protocol_type,
        "protocol": group.protocol,
        "epoch": _known(group.epoch),
        "assignment_epoch": _known(group.assignment_epoch),
        "coordinator": group.coordinator,
        "member_count": len(group.members),
        "lag": sum(lags) if lags else None,
        "members": [_member(member) for member in group.members],
        "offsets": offsets,
    }


def _member(member: GroupMember) -> Row:
    return {
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "host": member.host,
        "protocol": member.protocol,
        "epoch": _known(member.epoch),
        "partition_count": len(member.assignment),
        "assignment": [str(partition) for partition in member.assignment],
        "target": [str(partition) for partition in member.target],
        "topics": list(member.topics),
        "topic_regex": member.topic_regex or None,
    }


def _known(epoch: int) -> int | None:
    """-1 is what a classic group has for an epoch; -2 is a static member that is away."""
    return None if epoch == -1 else epoch


def _offset(
    partition: TopicPartition, committed: CommittedOffset | None, owner: GroupMember | None, ends: _Ends
) -> Row:
    start, end = ends.of(partition)
    return {
        "topic": partition.topic,
        "partition": partition.partition,
        "committed": None if committed is None else committed.offset,
        "metadata": "" if committed is None else committed.metadata,
        "log_start": start,
        "log_end": end,
        "lag": None if committed is None or end is None else max(0, end - committed.offset),
        "member_id": None if owner is None else owner.member_id,
        "client_id": None if owner is None else owner.client_id,
        "host": None if owner is None else owner.host,
    }


class _Ends:
    """Where logs start and end, asked once per topic; nothing is known of a topic that is gone."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._topics: dict[str, tuple[dict[int, ListedOffset], dict[int, ListedOffset]]] = {}

    def of(self, partition: TopicPartition) -> tuple[int | None, int | None]:
        if partition.topic not in self._topics:
            self._topics[partition.topic] = self._ask(partition.topic)
        starts, ends = self._topics[partition.topic]
        start, end = starts.get(partition.partition), ends.get(partition.partition)
        return None if start is None else start.offset, None if end is None else end.offset

    def _ask(self, topic: str) -> tuple[dict[int, ListedOffset], dict[int, ListedOffset]]:
        (found,) = self._client.metadata([topic]).topics
        led = [partition.partition for partition in found.partitions if partition.leader >= 0]
        if not led:
            return {}, {}
        return (
            self._client.list_offsets(topic, dict.fromkeys(led, EARLIEST)),
            self._client.list_offsets(topic, dict.fromkeys(led, LATEST)),
        )
