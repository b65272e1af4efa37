"""One group, two protocols: how a group changes its type while its members go on.

Owns: the two conversions and what they need to be allowed. A classic group turns into a consumer group with the first
heartbeat of the new protocol: its members stay, each with what it was assigned, as members that speak the classic
protocol. A consumer group turns back when the last member of the new protocol goes and classic ones stay. Either way
the records of the old type are deleted in the very batch that writes those of the new one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from broker.errors import ErrorCode, KafkaError
from broker.groups import consumer_protocol, rounds
from broker.groups.classic_group import ClassicGroup, Member
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember
from broker.groups.consumer.records import (
    ClassicMetadata,
    CurrentAssignment,
    CurrentRecord,
    GroupEpoch,
    GroupEpochRecord,
    MemberMetadata,
    MemberRecord,
    Partitions,
    TargetEpoch,
    TargetEpochRecord,
    TargetRecord,
)
from broker.groups.consumer.topics import Topics
from broker.groups.consumer.turn import ConsumerTurn, cancel_timers, session_key
from broker.groups.events import JoinReply, SyncReply
from broker.groups.records import GroupRecord, GroupValue, encode_group_value
from broker.types import TopicId

_STICKY_PROTOCOLS = frozenset({"sticky", "cooperative-sticky"})
"""librdkafka's members tell each other by user data what they had before: what this group keeps track of itself."""

# Classic to consumer ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Converted:
    member_id: str
    metadata: MemberMetadata
    assigned: Partitions


def to_consumer(turn: ConsumerTurn, group: ClassicGroup) -> None:
    """Raises GROUP_ID_NOT_FOUND, which sends the new member away, when the group cannot be converted."""
    _require_upgradable(turn, group)
    members = _convert_members(turn.topics, group)
    for member in group.members.values():
        # They meet again at once, under the new rules.
        rounds.answer_join(turn, member, JoinReply(error=ErrorCode.REBALANCE_IN_PROGRESS, member_id=member.member_id))
        rounds.answer_sync(turn, group, member, SyncReply(error=ErrorCode.REBALANCE_IN_PROGRESS))
    for pending_id in group.pending_joins:
        turn.decision.cancel_timer(session_key(group.group_id, pending_id))
    turn.decision.cancel_timer(rounds.join_key(group))
    turn.decision.cancel_timer(rounds.sync_key(group))
    group_id, epoch = group.group_id, group.generation
    topics = {topic for member in members for topic in member.metadata.topics}
    turn.write(GroupRecord(group_id=group_id, value=None))
    for one in members:
        turn.write(MemberRecord(group_id=group_id, member_id=one.member_id, value=one.metadata))
    metadata_hash = turn.topics.hash_of(topics)
    turn.write(GroupEpochRecord(group_id=group_id, value=GroupEpoch(epoch=epoch, metadata_hash=metadata_hash)))
    for one in members:
        turn.write(TargetRecord(group_id=group_id, member_id=one.member_id, value=one.assigned))
    turn.write(TargetEpochRecord(group_id=group_id, value=TargetEpoch(epoch=epoch)))
    for one in members:
        owned = {topic_id: dict.fromkeys(partitions, epoch) for topic_id, partitions in one.assigned.items()}
        current = CurrentAssignment(epoch=epoch, previous_epoch=epoch, assigned=owned)
        turn.write(CurrentRecord(group_id=group_id, member_id=one.member_id, value=current))
        assert one.metadata.classic is not None
        turn.decision.set_timer(session_key(group_id, one.member_id), one.metadata.classic.session_timeout_ms)


def _require_upgradable(turn: ConsumerTurn, group: ClassicGroup) -> None:
    if not turn.settings.may_upgrade:
        raise _cannot("upgrade classic", group.group_id, "online upgrade is disabled")
    if not group.uses_consumer_protocol:
        raise _cannot("upgrade classic", group.group_id, "it does not use the consumer embedded protocol")
    if len(group.members) >= turn.settings.size_max:
        raise _cannot("upgrade classic", group.group_id, "it would be larger than group.consumer.max.size")


def _cannot(what: str, group_id: str, why: str) -> KafkaError:
    return KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Cannot {what} group {group_id}: {why}.")


def _convert_members(topics: Topics, group: ClassicGroup) -> list[_Converted]:
    taken: set[tuple[TopicId, int]] = set()
    return [_convert(topics, group, member, taken) for member in group.members.values()]


def _convert(topics: Topics, group: ClassicGroup, member: Member, taken: set[tuple[TopicId, int]]) -> _Converted:
    metadata = member.metadata(group.protocol) or member.protocols[0][1]
    subscription = consumer_protocol.read_subscription(metadata)
    assigned = consumer_protocol.assigned_partitions(member.assignment)
    if subscription is None or assigned is None:
        raise _cannot("upgrade classic", group.group_id, "the embedded consumer protocol is malformed")
    if group.protocol not in _STICKY_PROTOCOLS and consumer_protocol.has_user_data(member.assignment):
        raise _cannot("upgrade classic", group.group_id, "a custom assignor is in use, whose user data would be lost")
    partitions: dict[TopicId, set[int]] = {}
    for topic, partition in assigned:
        topic_id = topics.topic_id(topic)
        if topic_id is not None and (topic_id, partition) not in taken:
            # A client's assignor may have given a partition twice; here it has one owner.
            taken.add((topic_id, partition))
            partitions.setdefault(topic_id, set()).add(partition)
    return _Converted(
        member_id=member.member_id,
        metadata=MemberMetadata(
            instance_id=member.instance_id,
            rack_id=subscription.rack_id,
            client_id=member.client_id,
            client_host=member.client_host,
            topics=tuple(sorted(subscription.topics)),
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            classic=ClassicMetadata(session_timeout_ms=member.session_timeout_ms, protocols=member.protocols),
        ),
        assigned={topic_id: frozenset(found) for topic_id, found in partitions.items()},
    )


# Consumer to classic ---------------------------------------------------------------------------------


def may_downgrade(turn: ConsumerTurn, group: ConsumerGroup, *, without: Collection[str] = ()) -> bool:
    """Whether none but classic members are left, at least one, and no more than a classic group may have."""
    leaving_classic = sum(group.members[member_id].is_classic for member_id in without)
    left = len(group.members) - len(without)
    all_classic = group.classic_count - leaving_classic == left
    return turn.settings.may_downgrade and all_classic and 0 < left <= turn.config.size_max


def to_classic(turn: ConsumerTurn, group: ConsumerGroup, *, leaving: Collection[str] = (), reason: str | None) -> bool:
    """Go on as a classic group of the members that stay, each with its target; with a ``reason`` they meet at once.

    Says whether it happened: a group whose members do not fit into one record stays as it is.
    """
    group_id = group.group_id
    staying = [member for member in group.members.values() if member.member_id not in leaving]
    value = _classic_value(turn, group, staying)
    if len(encode_group_value(value)) > turn.config.record_bytes_max:
        return False
    for member_id in group.members:
        cancel_timers(turn, group_id, member_id)
    turn.write(*group.tombstones())
    turn.write(GroupRecord(group_id=group_id, value=value))
    classic = turn.classic_groups[group_id]
    for member in staying:
        successor = classic.members[member.member_id]
        assert member.metadata.classic is not None
        # The record holds only the protocol that was elected; the others are still good for the next election.
        classic.change_protocols(successor, member.metadata.classic.protocols)
        successor.last_heartbeat_ms = member.last_heartbeat_ms
        rounds.restart_session(turn, classic, successor)
    if reason is not None:
        rounds.open_round(turn, classic, reason)
    return True


def _classic_value(turn: ConsumerTurn, group: ConsumerGroup, members: list[ConsumerMember]) -> GroupValue:
    """By way of a group that never lives, because it knows how a protocol and a leader are found."""
    classic = ClassicGroup(group_id=group.group_id, generation=group.epoch)
    for member in members:
        classic.add(_classic_member(member), consumer_protocol.PROTOCOL_TYPE)
    classic.protocol = classic.elect_protocol()
    assignments = {}
    for agreed in classic.members.values():
        subscription = consumer_protocol.read_subscription(agreed.metadata(classic.protocol))
        version = 0 if subscription is None else subscription.version
        assignments[agreed.member_id] = write_partitions(turn.topics, version, group.target(agreed.member_id))
    return classic.value(assignments, state_timestamp_ms=turn.now_ms)


def _classic_member(member: ConsumerMember) -> Member:
    metadata = member.metadata
    assert metadata.classic is not None
    return Member(
        member_id=member.member_id,
        instance_id=metadata.instance_id,
        client_id=metadata.client_id,
        client_host=metadata.client_host,
        rebalance_timeout_ms=metadata.rebalance_timeout_ms,
        session_timeout_ms=metadata.classic.session_timeout_ms,
        protocols=metadata.classic.protocols,
        last_heartbeat_ms=member.last_heartbeat_ms,
    )


def write_partitions(topics: Topics, version: int, partitions: Partitions) -> bytes:
    """An assignment in the members' own bytes; topics that are gone are left out."""
    named = {
        name: sorted(indexes) for topic_id, indexes in partitions.items() if (name := topics.name(topic_id)) is not None
    }
    return consumer_protocol.write_assignment(version, named)
