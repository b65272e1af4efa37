"""The four requests of a member's life: join, sync, heartbeat, leave.

Owns: what one request means for one group (the table in ``classic_group.py``). The shard has found the group; wire
versions are already gone. Every function answers its ticket in this turn, or leaves it with a member that waits.
"""

from __future__ import annotations

from broker.coordination.decision import Ticket
from broker.errors import ErrorCode, KafkaError
from broker.groups import consumer_protocol
from broker.groups.classic_group import ClassicGroup, GroupState, Member
from broker.groups.events import Heartbeat, Join, JoinReply, Leave, LeaveReply, LeavingMember, Sync, SyncReply
from broker.groups.records import GroupRecord, encode_group_value
from broker.groups.rounds import (
    Turn,
    answer_join,
    answer_sync,
    current_join,
    drop,
    fail_syncs,
    open_round,
    progress,
    rebalance_or_progress,
    restart_session,
    session_key,
    sync_key,
)
from broker.limits import GROUP_PENDING_MEMBERS_MAX, MEMBER_ID_PREFIX_LENGTH_MAX

# Join ------------------------------------------------------------------------------------------------


def join(turn: Turn, group: ClassicGroup, event: Join, ticket: Ticket) -> None:
    replaced = group.instances.get(event.instance_id) if event.instance_id is not None and not event.member_id else None
    if not _has_room(turn, group, event, replaced):
        known = event.member_id in group.members or event.member_id in group.pending_joins
        if known:
            drop(turn, group, event.member_id)
        turn.decision.reply(ticket, JoinReply(error=ErrorCode.GROUP_MAX_SIZE_REACHED))
        if known:
            progress(turn, group)
        return
    names = [name for name, _ in event.protocols]
    if not group.supports(event.protocol_type, names, beside=event.member_id or replaced):
        refusal = JoinReply(error=ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id=event.member_id)
        turn.decision.reply(ticket, refusal)
    elif replaced is not None:
        _replace_static(turn, group, event, ticket, replaced)
    elif not event.member_id:
        _join_new(turn, group, event, ticket)
    elif event.member_id in group.pending_joins and event.instance_id is None:
        _add(turn, group, event, ticket, event.member_id)
    else:
        _join_again(turn, group, event, ticket)


def _has_room(turn: Turn, group: ClassicGroup, event: Join, replaced: str | None) -> bool:
    """``group.max.size``. In a round those already waiting count, so the last to come are the ones refused."""
    if group.is_empty or replaced is not None or len(group.members) < turn.config.size_max:
        return True
    member = group.members.get(event.member_id)
    if group.state is GroupState.PREPARING_REBALANCE:
        if member is not None and member.awaiting_join is not None:
            return True
        return group.awaiting_join_count < turn.config.size_max
    return member is not None


def _join_new(turn: Turn, group: ClassicGroup, event: Join, ticket: Ticket) -> None:
    member_id = _new_member_id(event)
    if event.instance_id is not None or not event.requires_member_id:
        _add(turn, group, event, ticket, member_id)
        return
    if len(group.pending_joins) >= GROUP_PENDING_MEMBERS_MAX:
        turn.decision.reply(ticket, JoinReply(error=ErrorCode.GROUP_MAX_SIZE_REACHED))
        return
    # KIP-394: a client whose join answer gets lost would otherwise leave a ghost member at each retry.
    group.pending_joins[member_id] = None
    turn.decision.set_timer(session_key(group, member_id), event.session_timeout_ms)
    turn.decision.reply(ticket, JoinReply(error=ErrorCode.MEMBER_ID_REQUIRED, member_id=member_id))


def _new_member_id(event: Join) -> str:
    return f"{(event.instance_id or event.client_id)[:MEMBER_ID_PREFIX_LENGTH_MAX]}-{event.generated_id}"


def _add(turn: Turn, group: ClassicGroup, event: Join, ticket: Ticket, member_id: str) -> None:
    member = Member(
        member_id=member_id,
        instance_id=event.instance_id,
        client_id=event.client_id,
        client_host=event.client_host,
        rebalance_timeout_ms=event.rebalance_timeout_ms,
        session_timeout_ms=event.session_timeout_ms,
        protocols=event.protocols,
        awaiting_join=ticket,
        is_new=True,
        last_heartbeat_ms=turn.now_ms,
    )
    group.add(member, event.protocol_type)
    group.initial_wait_joined = True
    restart_session(turn, group, member, turn.config.new_member_join_timeout_ms)
    rebalance_or_progress(turn, group, _because(f"member {member_id} joined", event))


def _join_again(turn: Turn, group: ClassicGroup, event: Join, ticket: Ticket) -> None:
    try:
        member = group.member(event.member_id, event.instance_id)
    except KafkaError as error:
        turn.decision.reply(ticket, JoinReply(error=error.code, member_id=event.member_id))
        return
    member.last_heartbeat_ms = turn.now_ms
    unchanged = member.protocols == event.protocols
    if group.state is GroupState.COMPLETING_REBALANCE and unchanged:
        # The answer may have been lost on its way.
        turn.decision.reply(ticket, current_join(group, member))
        restart_session(turn, group, member)
    elif group.state is GroupState.STABLE and unchanged and group.leader != member.member_id:
        turn.decision.reply(ticket, current_join(group, member))
        restart_session(turn, group, member)
    else:
        # The leader may see what the coordinator cannot, e.g. that a topic has more partitions now.
        why = "leader" if group.leader == member.member_id else "member"
        _wait_in_round(turn, group, member, event, ticket)
        rebalance_or_progress(turn, group, _because(f"{why} {member.member_id} joined again", event))


def _wait_in_round(turn: Turn, group: ClassicGroup, member: Member, event: Join, ticket: Ticket) -> None:
    """The member's newest word counts. A join it gave up waiting for is answered so that nobody hangs on it."""
    answer_join(turn, member, JoinReply(error=ErrorCode.REBALANCE_IN_PROGRESS, member_id=member.member_id))
    group.change_protocols(member, event.protocols)
    member.rebalance_timeout_ms = event.rebalance_timeout_ms
    member.session_timeout_ms = event.session_timeout_ms
    member.awaiting_join = ticket


def _replace_static(turn: Turn, group: ClassicGroup, event: Join, ticket: Ticket, old_id: str) -> None:
    """KIP-345: a known instance came back without an id. It gets a new one; the old one is fenced from now on."""
    old_leader = group.leader
    member = group.members[old_id]
    answer_join(turn, member, JoinReply(error=ErrorCode.FENCED_INSTANCE_ID, member_id=old_id))
    answer_sync(turn, group, member, SyncReply(error=ErrorCode.FENCED_INSTANCE_ID))
    turn.decision.cancel_timer(session_key(group, old_id))
    same_subscription = _same_subscription(group, member, event)
    member = group.rename(old_id, _new_member_id(event))
    member.client_id, member.client_host = event.client_id, event.client_host
    member.last_heartbeat_ms = turn.now_ms
    _wait_in_round(turn, group, member, event, ticket)
    restart_session(turn, group, member)
    if group.state is not GroupState.STABLE:
        # After the leader was told the old id, its assignment would miss the new one: meet again.
        rebalance_or_progress(turn, group, _because(f"static member {event.instance_id} came back", event))
        return
    if not same_subscription or group.elect_protocol() != group.protocol:
        open_round(turn, group, _because(f"static member {event.instance_id} came back changed", event))
        return
    member.awaiting_join = None
    turn.decision.records.append(GroupRecord(group_id=group.group_id, value=group.value()))
    if event.supports_skip_assignment:
        is_leader = group.leader == member.member_id
        turn.decision.reply(ticket, current_join(group, member, skip_assignment=is_leader))
        return
    # Before v9 there is no way to say "you lead, but do not assign": so it is told that the old id leads.
    answer = JoinReply(
        member_id=member.member_id,
        generation=group.generation,
        protocol_type=group.protocol_type,
        protocol=group.protocol,
        leader=old_leader or "",
    )
    turn.decision.reply(ticket, answer)


def _same_subscription(group: ClassicGroup, member: Member, event: Join) -> bool:
    """Consumers write what they own into their metadata, and a restarted one owns nothing: compare the topics."""
    old = member.metadata(group.protocol)
    new = dict(event.protocols).get(group.protocol or "")
    if new is None or not group.uses_consumer_protocol:
        return new == old
    old_topics, new_topics = consumer_protocol.subscribed_topics(old), consumer_protocol.subscribed_topics(new)
    return new == old if old_topics is None or new_topics is None else new_topics == old_topics


def _because(what: str, event: Join) -> str:
    return f"{what} ({event.reason})" if event.reason else what


# Sync ------------------------------------------------------------------------------------------------


def sync(turn: Turn, group: ClassicGroup, event: Sync, ticket: Ticket) -> None:
    try:
        member = group.member(event.member_id, event.instance_id)
        _check_sync(group, event)
    except KafkaError as error:
        turn.decision.reply(ticket, SyncReply(error=error.code))
        return
    member.last_heartbeat_ms = turn.now_ms
    if group.state is GroupState.STABLE:
        _synced(turn, group, member.member_id)
        restart_session(turn, group, member)
        turn.decision.reply(ticket, _assigned(group, member.assignment))
        return
    answer_sync(turn, group, member, SyncReply(error=ErrorCode.REBALANCE_IN_PROGRESS))
    member.awaiting_sync = ticket
    _synced(turn, group, member.member_id)
    if group.leader == member.member_id:
        _assign(turn, group, dict(event.assignments))


def _check_sync(group: ClassicGroup, event: Sync) -> None:
    if event.generation != group.generation:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
    if event.protocol_type is not None and event.protocol_type != group.protocol_type:
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if event.protocol is not None and event.protocol != group.protocol:
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if group.state not in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
        raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)


def _synced(turn: Turn, group: ClassicGroup, member_id: str) -> None:
    group.pending_syncs.discard(member_id)
    if not group.pending_syncs:
        turn.decision.cancel_timer(sync_key(group))


def _assign(turn: Turn, group: ClassicGroup, assignments: dict[str, bytes]) -> None:
    """The leader has spoken: the round's outcome becomes a record, and replaying it makes the group Stable."""
    value = group.value(assignments, state_timestamp_ms=turn.now_ms)
    if len(encode_group_value(value)) > turn.config.record_bytes_max:
        fail_syncs(turn, group, ErrorCode.UNKNOWN_SERVER_ERROR)
        open_round(turn, group, "the group's metadata does not fit into one record")
        return
    turn.decision.records.append(GroupRecord(group_id=group.group_id, value=value))
    for member in group.members.values():
        answer_sync(turn, group, member, _assigned(group, assignments.get(member.member_id, b"")))


def _assigned(group: ClassicGroup, assignment: bytes) -> SyncReply:
    return SyncReply(protocol_type=group.protocol_type, protocol=group.protocol, assignment=assignment)


# Heartbeat -------------------------------------------------------------------------------------------


def heartbeat(turn: Turn, group: ClassicGroup, event: Heartbeat, ticket: Ticket) -> None:
    try:
        member = group.member(event.member_id, event.instance_id)
        if event.generation != group.generation:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
    except KafkaError as error:
        turn.decision.reply(ticket, error.code)
        return
    member.last_heartbeat_ms = turn.now_ms
    restart_session(turn, group, member)
    preparing = group.state is GroupState.PREPARING_REBALANCE
    turn.decision.reply(ticket, ErrorCode.REBALANCE_IN_PROGRESS if preparing else ErrorCode.NONE)


# Leave -----------------------------------------------------------------------------------------------


def leave(turn: Turn, group: ClassicGroup, event: Leave, ticket: Ticket) -> None:
    outcomes = tuple((leaving, _leave_one(turn, group, leaving)) for leaving in event.members)
    gone = [leaving for leaving, error in outcomes if error is ErrorCode.NONE]
    if gone and not group.is_empty:
        names = ", ".join(leaving.member_id or leaving.instance_id or "" for leaving in gone[:3])
        reason = gone[0].reason
        rebalance_or_progress(turn, group, f"{names} left ({reason})" if reason else f"{names} left")
    turn.decision.reply(ticket, LeaveReply(members=outcomes))


def _leave_one(turn: Turn, group: ClassicGroup, leaving: LeavingMember) -> ErrorCode:
    member_id = leaving.member_id
    if not member_id and leaving.instance_id is not None:
        # An administrator removes a static member by the name it has for people.
        member_id = group.instances.get(leaving.instance_id, "")
    if member_id not in group.pending_joins:
        try:
            group.member(member_id, leaving.instance_id)
        except KafkaError as error:
            return error.code
    drop(turn, group, member_id)
    return ErrorCode.NONE
