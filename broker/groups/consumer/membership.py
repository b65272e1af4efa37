"""The steps that heartbeats of both protocols share: entering a member, bumping the group epoch, moving towards the target.

Owns: when the group epoch grows. It does when a member comes, when a member subscribes to something else, when a
pattern comes to stand for other topics, and when a subscribed topic was created, deleted or given partitions. (That a
member went is in ``fencing.py``.)

Patterns are resolved here and now, in the request that brings them; those already resolved are looked at again when topics
were created since, at most every ``REGEX_REFRESH_MS_MIN``, so that a script which creates topics one by one does not
make the group meet for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember, member_tombstones
from broker.groups.consumer.reconciliation import Goal, next_assignment
from broker.groups.consumer.records import (
    UNREVOKED_PARTITIONS,
    CurrentRecord,
    GroupEpoch,
    GroupEpochRecord,
    MemberMetadata,
    MemberRecord,
    PartitionMetadataRecord,
    Partitions,
    RegexRecord,
    ResolvedRegex,
    TargetRecord,
)
from broker.groups.consumer.regex import matching_topics
from broker.groups.consumer.turn import ConsumerTurn, cancel_timers, restart_revocation, revocation_key
from broker.types import NO_EPOCH

REGEX_REFRESH_MS_MIN = 10_000


def require_room(turn: ConsumerTurn, group: ConsumerGroup, member_id: str) -> None:
    most = turn.settings.size_max
    if len(group.members) >= most and member_id not in group.members:
        raise KafkaError(
            ErrorCode.GROUP_MAX_SIZE_REACHED,
            f"The consumer group has reached its maximum capacity of {most} members.",
        )


def replace_static(turn: ConsumerTurn, group: ConsumerGroup, old: ConsumerMember, new_id: str) -> None:
    """A known instance came back under another member id: it takes the old one's place with all it had."""
    group_id = group.group_id
    target = group.target(old.member_id)
    turn.write(*member_tombstones(group_id, old.member_id))
    cancel_timers(turn, group_id, old.member_id)
    turn.write(
        MemberRecord(group_id=group_id, member_id=new_id, value=old.metadata),
        TargetRecord(group_id=group_id, member_id=new_id, value=target),
        CurrentRecord(group_id=group_id, member_id=new_id, value=replace(old.current, epoch=0, previous_epoch=0)),
    )


def enter(turn: ConsumerTurn, group: ConsumerGroup, member_id: str, metadata: MemberMetadata) -> bool:
    """Write what a member says of itself, and the new group epoch if that changes the group. Says whether the member
    subscribes to something else now."""
    member = group.members.get(member_id)
    before = None if member is None else member.metadata
    if metadata is not before and metadata != before:
        turn.write(MemberRecord(group_id=group.group_id, member_id=member_id, value=metadata))
    changed = before is None or before.topics != metadata.topics or (before.regex or "") != (metadata.regex or "")
    if changed and before is not None and before.regex:
        forget_regexes(turn, group, [before.regex])
    resolved = _resolve_regexes(turn, group)
    if changed:
        bump(turn, group, f"member {member_id} {'joined' if before is None else 'changed its subscription'}")
    elif resolved:
        bump(turn, group, "other topics match a subscribed pattern")
    else:
        _notice_topics(turn, group)
    return changed


def forget_regexes(turn: ConsumerTurn, group: ConsumerGroup, regexes: Iterable[str]) -> None:
    """Those that nobody subscribes to any more."""
    for regex in regexes:
        if regex not in group.patterns and regex in group.regexes:
            turn.write(RegexRecord(group_id=group.group_id, regex=regex, value=None))


def _resolve_regexes(turn: ConsumerTurn, group: ConsumerGroup) -> bool:
    """Whether some pattern stands for other topics than before."""
    if not group.patterns:
        return False
    wanted = (
        list(group.patterns) if _is_stale(turn, group) else [one for one in group.patterns if one not in group.regexes]
    )
    changed = False
    for regex in wanted:
        before = group.regexes.get(regex)
        topics = matching_topics(regex, turn.topics.public_names())
        changed |= before is None or before.topics != topics
        value = ResolvedRegex(topics=topics, version=turn.topics.version, timestamp_ms=turn.now_ms)
        turn.write(RegexRecord(group_id=group.group_id, regex=regex, value=value))
    return changed


def _is_stale(turn: ConsumerTurn, group: ConsumerGroup) -> bool:
    if not group.regexes:
        return False
    oldest_ms = min(resolved.timestamp_ms for resolved in group.regexes.values())
    if turn.now_ms < oldest_ms + REGEX_REFRESH_MS_MIN:
        return False
    if turn.now_ms >= oldest_ms + turn.settings.regex_refresh_interval_ms:
        return True
    return any(resolved.version < turn.topics.version for resolved in group.regexes.values())


def bump(turn: ConsumerTurn, group: ConsumerGroup, reason: str) -> None:
    metadata_hash = turn.topics.hash_of(group.subscribed_topics())
    group.topics_seen = turn.topics
    group.rebalances_total += 1
    group.last_rebalance_reason = reason
    value = GroupEpoch(epoch=group.epoch + 1, metadata_hash=metadata_hash)
    turn.write(GroupEpochRecord(group_id=group.group_id, value=value))
    if group.has_partition_metadata:
        turn.write(PartitionMetadataRecord(group_id=group.group_id))


def _notice_topics(turn: ConsumerTurn, group: ConsumerGroup) -> None:
    if group.topics_seen is turn.topics:
        return
    group.topics_seen = turn.topics
    if turn.topics.hash_of(group.subscribed_topics()) != group.metadata_hash:
        bump(turn, group, "subscribed topics were created, deleted or given partitions")


def reconcile(
    turn: ConsumerTurn,
    group: ConsumerGroup,
    member: ConsumerMember,
    owned: Partitions | None,
    *,
    subscription_changed: bool,
) -> None:
    """Move one member towards its target, as far as it can go now."""
    if not subscription_changed and group.is_reconciled(member):
        return
    goal = Goal(
        epoch=group.target_epoch,
        target=group.target(member.member_id),
        subscribed=turn.topics.topic_ids(group.topics_of(member.metadata)),
        subscription_changed=subscription_changed,
        owner=group.owner,
    )
    current = next_assignment(member.member_id, member.current, goal, owned)
    if current == member.current:
        return
    turn.write(CurrentRecord(group_id=group.group_id, member_id=member.member_id, value=current))
    if member.is_classic:
        return
    if current.state == UNREVOKED_PARTITIONS:
        restart_revocation(turn, group, member)
    elif member.revocation_epoch != NO_EPOCH:
        member.revocation_epoch = NO_EPOCH
        turn.decision.cancel_timer(revocation_key(group.group_id, member.member_id))
