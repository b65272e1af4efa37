"""What each member is to have: when that is computed anew, by which assignor, and what is written of it.

Owns: the step from a group epoch to targets. Only targets that changed are written.
"""

from __future__ import annotations

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.assignors.range import assign_ranges
from broker.groups.consumer.assignors.spec import Assignor, MemberSpec
from broker.groups.consumer.assignors.uniform import assign_uniformly
from broker.groups.consumer.group import ConsumerGroup
from broker.groups.consumer.records import TargetEpoch, TargetEpochRecord, TargetRecord
from broker.groups.consumer.settings import RANGE, UNIFORM
from broker.groups.consumer.turn import ConsumerTurn
from broker.limits import CONSUMER_GROUP_PARTITIONS_MAX
from broker.types import TopicId

ASSIGNORS: dict[str, Assignor] = {UNIFORM: assign_uniformly, RANGE: assign_ranges}
_RECORD_BYTES_PER_PARTITION = 10
"""More than a partition and its epoch take in a member's record; its topic's id is shared."""


def renew_targets(turn: ConsumerTurn, group: ConsumerGroup) -> None:
    """Bring the targets to the group epoch, unless they were made too short a while ago: then a later heartbeat does."""
    if group.target_epoch >= group.epoch or not group.members or not _is_due(turn, group):
        return
    specs = _specs(turn, group)
    assignor = ASSIGNORS[assignor_of(turn, group)]
    targets = assignor(specs, turn.topics.partition_count)
    for member_id, target in targets.items():
        before = group.targets.get(member_id)
        if before is not target and before != target:
            turn.write(TargetRecord(group_id=group.group_id, member_id=member_id, value=target))
    made = TargetEpoch(epoch=group.epoch, timestamp_ms=turn.now_ms)
    turn.write(TargetEpochRecord(group_id=group.group_id, value=made))


def assignor_of(turn: ConsumerTurn, group: ConsumerGroup) -> str:
    default = turn.settings.assignors[0]
    wanted = group.preferred_assignor(default)
    return wanted if wanted in turn.settings.assignors else default


def _is_due(turn: ConsumerTurn, group: ConsumerGroup) -> bool:
    interval_ms = turn.settings.assignment_interval_ms
    return not interval_ms or not group.target_made_ms or turn.now_ms >= group.target_made_ms + interval_ms


def _specs(turn: ConsumerTurn, group: ConsumerGroup) -> list[MemberSpec]:
    subscriptions: dict[tuple[tuple[str, ...], str], frozenset[TopicId]] = {}
    specs = []
    for member in group.members.values():
        metadata = member.metadata
        subscription = (metadata.topics, metadata.regex or "")
        topics = subscriptions.get(subscription)
        if topics is None:
            topics = subscriptions[subscription] = turn.topics.topic_ids(group.topics_of(metadata))
        specs.append(
            MemberSpec(
                member_id=member.member_id,
                instance_id=metadata.instance_id,
                topics=topics,
                target=group.target(member.member_id),
            )
        )
    _require_bounded(turn, frozenset().union(*subscriptions.values()))
    return specs


def _require_bounded(turn: ConsumerTurn, topics: frozenset[TopicId]) -> None:
    """One member may come to have everything, and it has to fit into its record."""
    most = min(CONSUMER_GROUP_PARTITIONS_MAX, turn.config.record_bytes_max // _RECORD_BYTES_PER_PARTITION)
    count = sum(map(turn.topics.partition_count, topics))
    if count > most:
        raise KafkaError(
            ErrorCode.UNKNOWN_SERVER_ERROR, f"The group subscribes to {count} partitions; {most} can be assigned."
        )
