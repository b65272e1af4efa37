"""A group of the consumer protocol as the dashboard sees it.

Owns: reading it into ``telemetry.sample.GroupSample``, ids of topics turned into names. A topic that is gone has none,
and its partitions are not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.groups.consumer.group import ConsumerGroup, ConsumerMember
from broker.groups.consumer.records import MEMBER_STATES
from broker.groups.consumer.topics import Topics
from broker.groups.consumer_protocol import PROTOCOL_TYPE
from broker.groups.events import CLASSIC_TYPE, CONSUMER_TYPE
from broker.groups.offsets import OffsetStore
from broker.groups.statistics import ASSIGNMENT_PARTITIONS_MAX, sample_offsets
from broker.telemetry.sample import GroupSample, MemberSample
from broker.types import TopicId

TOPICS_SHOWN_MAX = 100
"""Names of one member's subscription that are shown."""


def sample_consumer_group(
    group: ConsumerGroup, offsets: OffsetStore, coordinator: int, topics: Topics, default_assignor: str
) -> GroupSample:
    return GroupSample(
        group_id=group.group_id,
        state=group.state.value,
        protocol_type=PROTOCOL_TYPE,
        protocol=group.preferred_assignor(default_assignor),
        generation=group.epoch,
        coordinator=coordinator,
        rebalances_total=group.rebalances_total,
        last_rebalance_reason=group.last_rebalance_reason,
        state_since_ms=group.state_since_ms,
        members=[_sample_member(group, member, topics) for member in group.members.values()],
        offsets=sample_offsets(offsets, group.group_id),
        type=CONSUMER_TYPE,
        assignment_epoch=group.target_epoch,
    )


def _sample_member(group: ConsumerGroup, member: ConsumerMember, topics: Topics) -> MemberSample:
    metadata, current = member.metadata, member.current
    return MemberSample(
        member_id=member.member_id,
        client_id=metadata.client_id,
        host=metadata.client_host.removeprefix("/"),
        instance_id=metadata.instance_id or "",
        session_timeout_ms=0 if metadata.classic is None else metadata.classic.session_timeout_ms,
        last_heartbeat_ms=member.last_heartbeat_ms,
        assignment=_named(current.assigned, topics),
        protocol=CLASSIC_TYPE if member.is_classic else CONSUMER_TYPE,
        epoch=member.epoch,
        state=MEMBER_STATES[current.state],
        target=_named(group.target(member.member_id), topics),
        revoking=_named(current.revoking, topics),
        topics=list(metadata.topics[:TOPICS_SHOWN_MAX]),
        topic_regex=metadata.regex or "",
        rack=metadata.rack_id or "",
    )


def _named(partitions: Mapping[TopicId, Iterable[int]], topics: Topics) -> list[tuple[str, int]]:
    named = [
        (name, partition)
        for topic_id, found in partitions.items()
        if (name := topics.name(topic_id)) is not None
        for partition in found
    ]
    return sorted(named)[:ASSIGNMENT_PARTITIONS_MAX]
