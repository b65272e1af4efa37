"""A group as the dashboard sees it.

Owns: reading a group and its offsets into ``telemetry.sample.GroupSample``. What only the log knows (the timestamp of
the record at a committed offset) is left for the sampler to fill in.
"""

from __future__ import annotations

from functools import lru_cache

from broker.groups import consumer_protocol
from broker.groups.classic_group import ClassicGroup, Member
from broker.groups.offsets import OffsetStore
from broker.telemetry.sample import GroupSample, MemberSample, OffsetSample

ASSIGNMENT_PARTITIONS_MAX = 10_000
"""Partitions of one member that are shown."""


def sample_group(group: ClassicGroup, offsets: OffsetStore, coordinator: int) -> GroupSample:
    return GroupSample(
        group_id=group.group_id,
        state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol=group.protocol or "",
        generation=group.generation if group.durable is not None or group.members else -1,
        leader=group.leader or "",
        coordinator=coordinator,
        rebalances_total=group.rebalances_total,
        last_rebalance_reason=group.last_rebalance_reason,
        state_since_ms=group.state_since_ms,
        members=[_sample_member(group, member) for member in group.members.values()],
        offsets=sample_offsets(offsets, group.group_id),
    )


def sample_offsets(offsets: OffsetStore, group_id: str) -> list[OffsetSample]:
    return [
        OffsetSample(
            topic=topic, partition=partition, committed=value.offset, committed_at_ms=value.commit_timestamp_ms
        )
        for topic, partitions in sorted(offsets.of_group(group_id).items())
        for partition, value in sorted(partitions.items())
    ]


def _sample_member(group: ClassicGroup, member: Member) -> MemberSample:
    assignment = _assigned(member.assignment) if group.uses_consumer_protocol and member.assignment else ()
    return MemberSample(
        member_id=member.member_id,
        client_id=member.client_id,
        host=member.client_host.removeprefix("/"),
        instance_id=member.instance_id or "",
        session_timeout_ms=member.session_timeout_ms,
        last_heartbeat_ms=member.last_heartbeat_ms,
        assignment=list(assignment),
    )


@lru_cache(maxsize=1024)
def _assigned(assignment: bytes) -> tuple[tuple[str, int], ...]:
    """Assignments outlive many samples, so each is taken apart once."""
    return tuple((consumer_protocol.assigned_partitions(assignment) or [])[:ASSIGNMENT_PARTITIONS_MAX])
