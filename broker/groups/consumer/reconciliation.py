"""How one member gets from what it has to what it is to have.

Owns: the next current assignment of a member, given its target and what it says it owns. Pure and total; the caller
writes the outcome. The states and what moves a member out of them:

| state | waits for | then |
|---|---|---|
| Stable | a target of another epoch | compares with it |
| UnrevokedPartitions | the member no longer owning what it was told to give up | compares with the newest target |
| UnreleasedPartitions | others giving up what it is to have | compares with the newest target |

Comparing: what it has and is not to have must be given up first, in its present epoch. Once nothing is left to give up it
enters the epoch of the target, with whatever of it is free. A topic the member does not subscribe to (any more) is
never in its target, though the targets may not know yet.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.records import (
    STABLE,
    UNKNOWN_STATE,
    UNRELEASED_PARTITIONS,
    UNREVOKED_PARTITIONS,
    CurrentAssignment,
    OwnedPartitions,
    Partitions,
)
from broker.types import TopicId


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What the group wants of a member now."""

    epoch: int
    target: Partitions
    subscribed: Container[TopicId]
    subscription_changed: bool
    """In this very request."""
    owner: Callable[[TopicId, int], str | None]


def next_assignment(
    member_id: str, current: CurrentAssignment, goal: Goal, owned: Partitions | None
) -> CurrentAssignment:
    """An equal value when nothing moves. ``owned``: what the member said it has, ``None`` if it did not say."""
    state = current.state
    if state == UNKNOWN_STATE and (owned is None or owned):
        raise KafkaError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            "The consumer group member is in an unknown state. The member must abandon all its partitions and rejoin.",
        )
    arrived = state == STABLE and current.epoch == goal.epoch
    waits = state == UNREVOKED_PARTITIONS and _still_owns(owned, current.revoking)
    if arrived or waits:
        return _drop_unsubscribed(current, goal, owned) if goal.subscription_changed else current
    return _compare(member_id, current, goal, owned)


def _still_owns(owned: Partitions | None, revoking: OwnedPartitions) -> bool:
    """A member that does not say is taken to own everything."""
    if owned is None:
        return True
    return any(not partitions.isdisjoint(revoking.get(topic_id, ())) for topic_id, partitions in owned.items())


def _drop_unsubscribed(current: CurrentAssignment, goal: Goal, owned: Partitions | None) -> CurrentAssignment:
    """Give up the topics the member no longer subscribes to, before there are targets that know."""
    dropped = {topic_id: epochs for topic_id, epochs in current.assigned.items() if topic_id not in goal.subscribed}
    if not dropped:
        return current
    kept = {topic_id: epochs for topic_id, epochs in current.assigned.items() if topic_id not in dropped}
    revoking = {topic_id: dict(epochs) for topic_id, epochs in current.revoking.items()}
    for topic_id, epochs in dropped.items():
        revoking.setdefault(topic_id, {}).update(epochs)
    if _still_owns(owned, revoking):
        return replace(current, state=UNREVOKED_PARTITIONS, assigned=kept, revoking=revoking)
    return replace(current, assigned=kept)


def _compare(member_id: str, current: CurrentAssignment, goal: Goal, owned: Partitions | None) -> CurrentAssignment:
    kept: dict[TopicId, dict[int, int]] = {}
    revoking: dict[TopicId, dict[int, int]] = {}
    for topic_id, epochs in current.assigned.items():
        wanted = goal.target.get(topic_id, frozenset()) if topic_id in goal.subscribed else frozenset()
        keep = {partition: since for partition, since in epochs.items() if partition in wanted}
        if keep:
            kept[topic_id] = keep
        if len(keep) < len(epochs):
            revoking[topic_id] = {partition: since for partition, since in epochs.items() if partition not in wanted}
    if revoking and _still_owns(owned, revoking):
        return replace(current, state=UNREVOKED_PARTITIONS, assigned=kept, revoking=revoking)
    waits = False
    for topic_id, wanted in goal.target.items():
        if topic_id not in goal.subscribed:
            continue
        have = kept.get(topic_id, {})
        for partition in wanted:
            if partition in have:
                continue
            # One it was giving up itself is free for it: nobody else can have it.
            if goal.owner(topic_id, partition) in (None, member_id):
                kept.setdefault(topic_id, {})[partition] = goal.epoch
            else:
                waits = True
    return CurrentAssignment(
        epoch=goal.epoch,
        # Within one epoch the one before stays good: the member may have missed more than one answer.
        previous_epoch=current.epoch if current.epoch != goal.epoch else current.previous_epoch,
        state=UNRELEASED_PARTITIONS if waits else STABLE,
        assigned=kept,
    )
