"""Members that still speak the classic protocol inside a consumer group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

Owns: the mapping of those requests onto epochs. Nobody waits for anybody: JoinGroup is answered at once and names no
leader, the generation is the member's epoch, and SyncGroup hands out what the member has been assigned. What a
heartbeat tells a member of the new protocol, it tells these by REBALANCE_IN_PROGRESS: join again, since

- the targets are of a newer epoch than the member, or
- it has to give partitions up (a cooperative member says in its JoinGroup what it kept, an eager one kept nothing), or
- what it was waiting for is free.

One that is told so and does not join within its rebalance timeout is fenced, and so is one that joins and does not
send SyncGroup.
"""

from __future__ import annotations

from dataclasses import replace

from broker.coordination.decision import Ticket
from broker.errors import ErrorCode, KafkaError
from broker.groups import consumer_protocol
from broker.groups.consumer.fencing import fence
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember
from broker.groups.consumer.membership import enter, reconcile, replace_static, require_room
from broker.groups.consumer.migration import may_downgrade, to_classic, write_partitions
from broker.groups.consumer.records import (
    UNRELEASED_PARTITIONS,
    UNREVOKED_PARTITIONS,
    ClassicMetadata,
    MemberMetadata,
    Partitions,
)
from broker.groups.consumer.targets import renew_targets
from broker.groups.consumer.topics import Topics
from broker.groups.consumer.turn import ConsumerTurn, rejoin_key, restart_session, resync_key
from broker.groups.events import (
    Heartbeat,
    Join,
    JoinReply,
    Leave,
    LeaveReply,
    LeavingMember,
    Sync,
    SyncReply,
)

# Join ------------------------------------------------------------------------------------------------


def join(turn: ConsumerTurn, group: ConsumerGroup, event: Join, ticket: Ticket) -> None:
    try:
        turn.decision.reply(ticket, _join(turn, group, event))
    except KafkaError as error:
        turn.decision.reply(ticket, JoinReply(error=error.code, member_id=event.member_id))


def _join(turn: ConsumerTurn, group: ConsumerGroup, event: Join) -> JoinReply:
    member_id = event.member_id or event.generated_id
    require_room(turn, group, member_id)
    subscription = _subscription(group, event)
    if not event.member_id and event.instance_id is None and event.requires_member_id:
        return JoinReply(error=ErrorCode.MEMBER_ID_REQUIRED, member_id=member_id)
    replaced_a_modern = _admit(turn, group, event, member_id)
    changed = enter(turn, group, member_id, _metadata(group.members.get(member_id), event, subscription))
    member = group.members[member_id]
    member.last_heartbeat_ms = turn.now_ms
    owned = _owned(turn.topics, subscription)
    if replaced_a_modern and may_downgrade(turn, group):
        generation = _downgrade(turn, group, member, owned, changed=changed)
        if generation is not None:
            return _joined(event, member_id, generation)
    renew_targets(turn, group)
    reconcile(turn, group, member, owned, subscription_changed=changed)
    member.told_to_rejoin = False
    turn.decision.cancel_timer(rejoin_key(group.group_id, member_id))
    turn.decision.set_timer(resync_key(group.group_id, member_id), event.rebalance_timeout_ms)
    restart_session(turn, group, member)
    return _joined(event, member_id, member.epoch)


def _joined(event: Join, member_id: str, epoch: int) -> JoinReply:
    return JoinReply(
        member_id=member_id,
        generation=epoch,
        protocol_type=consumer_protocol.PROTOCOL_TYPE,
        protocol=event.protocols[0][0],
    )


def _subscription(group: ConsumerGroup, event: Join) -> consumer_protocol.Subscription:
    """All protocols of a consumer carry the same subscription. Raises INCONSISTENT_GROUP_PROTOCOL."""
    names = [name for name, _ in event.protocols]
    if event.protocol_type != consumer_protocol.PROTOCOL_TYPE or not _shares_a_protocol(group, event.member_id, names):
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    subscription = consumer_protocol.read_subscription(event.protocols[0][1])
    if subscription is None:
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    return subscription


def _shares_a_protocol(group: ConsumerGroup, member_id: str, names: list[str]) -> bool:
    """With all classic members beside it: should the others go, they must be able to go on as a classic group."""
    member = group.members.get(member_id)
    classic = None if member is None else member.metadata.classic
    own = frozenset() if classic is None else frozenset(name for name, _ in classic.protocols)
    others = group.classic_count - (classic is not None)
    return any(group.classic_protocols.get(name, 0) - (name in own) == others for name in names)


def _admit(turn: ConsumerTurn, group: ConsumerGroup, event: Join, member_id: str) -> bool:
    """Let the member in. Says whether it took the place of a static member that was not classic."""
    if event.instance_id is None:
        return False
    if event.member_id:
        group.static_member(event.member_id, event.instance_id)
        return False
    old = group.members.get(group.instances.get(event.instance_id, ""))
    if old is None:
        return False
    replace_static(turn, group, old, member_id)
    return not old.is_classic


def _metadata(
    member: ConsumerMember | None, event: Join, subscription: consumer_protocol.Subscription
) -> MemberMetadata:
    return replace(
        MemberMetadata() if member is None else member.metadata,
        instance_id=event.instance_id,
        rack_id=subscription.rack_id,
        client_id=event.client_id,
        client_host=event.client_host,
        topics=tuple(sorted(subscription.topics)),
        regex=None,
        rebalance_timeout_ms=event.rebalance_timeout_ms,
        classic=ClassicMetadata(session_timeout_ms=event.session_timeout_ms, protocols=event.protocols),
    )


def _owned(topics: Topics, subscription: consumer_protocol.Subscription) -> Partitions:
    return {
        topic_id: frozenset(partitions)
        for topic, partitions in subscription.owned
        if (topic_id := topics.topic_id(topic)) is not None
    }


def _downgrade(
    turn: ConsumerTurn, group: ConsumerGroup, member: ConsumerMember, owned: Partitions, *, changed: bool
) -> int | None:
    """The last member of the new protocol was this static one, which came back as a classic one. Answers its generation,
    or ``None`` if the group stays what it is."""
    stale = group.target_epoch < group.epoch
    if not stale:
        reconcile(turn, group, member, owned, subscription_changed=changed)
    reason = "the group is classic from now on, and its targets are not up to date" if stale else None
    epoch = member.epoch
    return epoch if to_classic(turn, group, reason=reason) else None


# Sync, heartbeat -------------------------------------------------------------------------------------


def sync(turn: ConsumerTurn, group: ConsumerGroup, event: Sync, ticket: Ticket) -> None:
    try:
        member, classic = _member(group, event.member_id, event.instance_id, event.generation)
        _require_protocol(classic, event)
        if group.target_epoch > member.epoch and member.current.state != UNREVOKED_PARTITIONS:
            _tell_to_rejoin(turn, group, member)
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
    except KafkaError as error:
        turn.decision.reply(ticket, SyncReply(error=error.code))
        return
    member.last_heartbeat_ms = turn.now_ms
    turn.decision.cancel_timer(resync_key(group.group_id, member.member_id))
    restart_session(turn, group, member)
    subscription = consumer_protocol.read_subscription(classic.protocols[0][1])
    version = 0 if subscription is None else subscription.version
    assigned = {topic_id: frozenset(epochs) for topic_id, epochs in member.current.assigned.items()}
    turn.decision.reply(
        ticket,
        SyncReply(
            protocol_type=consumer_protocol.PROTOCOL_TYPE,
            protocol=classic.protocols[0][0],
            assignment=write_partitions(turn.topics, version, assigned),
        ),
    )


def heartbeat(turn: ConsumerTurn, group: ConsumerGroup, event: Heartbeat, ticket: Ticket) -> None:
    try:
        member, _ = _member(group, event.member_id, event.instance_id, event.generation)
        member.last_heartbeat_ms = turn.now_ms
        restart_session(turn, group, member)
        # Topics may have changed without anybody of the new protocol being there to notice.
        enter(turn, group, member.member_id, member.metadata)
        renew_targets(turn, group)
        if _has_to_rejoin(group, member):
            _tell_to_rejoin(turn, group, member)
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
    except KafkaError as error:
        turn.decision.reply(ticket, error.code)
        return
    turn.decision.reply(ticket, ErrorCode.NONE)


def _member(
    group: ConsumerGroup, member_id: str, instance_id: str | None, generation: int
) -> tuple[ConsumerMember, ClassicMetadata]:
    member = group.member(member_id) if instance_id is None else group.static_member(member_id, instance_id)
    if member.metadata.classic is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
    if generation != member.epoch:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
    return member, member.metadata.classic


def _require_protocol(classic: ClassicMetadata, event: Sync) -> None:
    if event.protocol_type not in (None, consumer_protocol.PROTOCOL_TYPE):
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if event.protocol not in (None, classic.protocols[0][0]):
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)


def _has_to_rejoin(group: ConsumerGroup, member: ConsumerMember) -> bool:
    state = member.current.state
    if member.epoch < group.target_epoch or state == UNREVOKED_PARTITIONS:
        return True
    return state == UNRELEASED_PARTITIONS and not _waits_for_others(group, member)


def _waits_for_others(group: ConsumerGroup, member: ConsumerMember) -> bool:
    return any(
        group.owner(topic_id, partition) not in (None, member.member_id)
        for topic_id, partitions in group.target(member.member_id).items()
        for partition in partitions
    )


def _tell_to_rejoin(turn: ConsumerTurn, group: ConsumerGroup, member: ConsumerMember) -> None:
    """Its time runs from the first telling on."""
    if not member.told_to_rejoin:
        member.told_to_rejoin = True
        turn.decision.set_timer(rejoin_key(group.group_id, member.member_id), member.metadata.rebalance_timeout_ms)


# Leave -----------------------------------------------------------------------------------------------


def leave(turn: ConsumerTurn, group: ConsumerGroup, event: Leave, ticket: Ticket) -> None:
    """Members of either protocol: an administrator may remove any."""
    going: dict[str, None] = {}
    outcomes = tuple((leaving, _find_leaving(group, leaving, going)) for leaving in event.members)
    if going:
        reason = next((leaving.reason for leaving, error in outcomes if not error and leaving.reason), "")
        names = ", ".join(list(going)[:3])
        fence(turn, group, list(going), f"{names} left ({reason})" if reason else f"{names} left")
    turn.decision.reply(ticket, LeaveReply(members=outcomes))


def _find_leaving(group: ConsumerGroup, leaving: LeavingMember, going: dict[str, None]) -> ErrorCode:
    """Adds the member to ``going``, unless there is none or this is not it."""
    try:
        if leaving.instance_id is None:
            member = group.member(leaving.member_id)
        else:
            owner = group.instances.get(leaving.instance_id, "")
            # An administrator removes a static member by the name it has for people.
            member = group.static_member(leaving.member_id or owner, leaving.instance_id)
    except KafkaError as error:
        return error.code
    going[member.member_id] = None
    return ErrorCode.NONE
