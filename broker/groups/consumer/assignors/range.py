"""The range assignor: of every topic each subscriber gets one run of consecutive partitions.

Members stand in the same order for every topic (static ones first, by instance id, then by member id), so topics with
equal partition counts are cut alike: partition 3 of each goes to the same member, which is what joins need. Nothing is
sticky but by that order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker.groups.consumer.assignors.spec import MemberSpec, PartitionCount
from broker.groups.consumer.records import Partitions
from broker.types import TopicId


def assign_ranges(members: Sequence[MemberSpec], partition_count: PartitionCount) -> Mapping[str, Partitions]:
    subscribers: dict[TopicId, list[MemberSpec]] = {}
    for member in sorted(members, key=_order):
        for topic_id in member.topics:
            subscribers.setdefault(topic_id, []).append(member)
    assigned: dict[str, dict[TopicId, frozenset[int]]] = {member.member_id: {} for member in members}
    for topic_id, subscribed in subscribers.items():
        each, extra = divmod(partition_count(topic_id), len(subscribed))
        start = 0
        for index, member in enumerate(subscribed):
            end = start + each + (index < extra)
            if end > start:
                assigned[member.member_id][topic_id] = frozenset(range(start, end))
            start = end
    return {
        member.member_id: member.target if member.target == assigned[member.member_id] else assigned[member.member_id]
        for member in members
    }


def _order(member: MemberSpec) -> tuple[bool, str]:
    return member.instance_id is None, member.instance_id or member.member_id
