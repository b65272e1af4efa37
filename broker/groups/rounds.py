"""How a round opens, waits, completes and fails: the part of the classic protocol that no single request owns.

Owns: the transitions into PreparingRebalance and CompletingRebalance, the three timers of a group, and the answers a
transition gives to those who wait. Called by ``requests.py`` (something happened) and ``shard.py`` (a timer fired).

Timers, by key
- ``("session", group, member)``: the member was silent for its session timeout. A member that waits for an answer is
  alive by definition; a *new* one (its client may be gone for good) waits at most ``new_member_join_timeout_ms``.
- ``("join", group)``: the round has waited long enough.
- ``("sync", group)``: members that took the round's answer and never sent SyncGroup hold everybody up.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.coordination.decision import Decision, TimerKey
from broker.errors import ErrorCode
from broker.groups.classic_group import ClassicGroup, GroupState, Member
from broker.groups.config import GroupConfig
from broker.groups.events import JoinReply, SyncReply
from broker.groups.records import GroupRecord, Record


@dataclass(slots=True, kw_only=True)
class Turn:
    """One event being handled: the configs it obeys, its time, and the decision it fills."""

    config: GroupConfig
    now_ms: int
    decision: Decision[Record] = field(default_factory=Decision)


def session_key(group: ClassicGroup, member_id: str) -> TimerKey:
    return ("session", group.group_id, member_id)


def join_key(group: ClassicGroup) -> TimerKey:
    return ("join", group.group_id)


def sync_key(group: ClassicGroup) -> TimerKey:
    return ("sync", group.group_id)


def restart_session(turn: Turn, group: ClassicGroup, member: Member, timeout_ms: int | None = None) -> None:
    delay_ms = member.session_timeout_ms if timeout_ms is None else timeout_ms
    turn.decision.set_timer(session_key(group, member.member_id), delay_ms)


# Opening ---------------------------------------------------------------------------------------------


def rebalance_or_progress(turn: Turn, group: ClassicGroup, reason: str) -> None:
    """Someone came, left or changed: open a round, or see whether the one that is open is complete now."""
    if group.state is GroupState.PREPARING_REBALANCE:
        progress(turn, group)
    else:
        open_round(turn, group, reason)


def open_round(turn: Turn, group: ClassicGroup, reason: str) -> None:
    if group.state is GroupState.COMPLETING_REBALANCE:
        fail_syncs(turn, group, ErrorCode.REBALANCE_IN_PROGRESS)
    group.pending_syncs.clear()
    turn.decision.cancel_timer(sync_key(group))
    group.rebalances_total += 1
    group.last_rebalance_reason = reason
    if group.is_empty:
        # More members are probably starting right now; meeting once is cheaper than meeting once for each.
        delay_ms = turn.config.initial_rebalance_delay_ms
        group.initial_wait_left_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
        group.initial_wait_joined = False
        group.enter(GroupState.PREPARING_REBALANCE, turn.now_ms)
        turn.decision.set_timer(join_key(group), delay_ms)
        return
    group.enter(GroupState.PREPARING_REBALANCE, turn.now_ms)
    if group.all_joined:
        complete_join(turn, group)
    else:
        turn.decision.set_timer(join_key(group), group.rebalance_timeout_ms)


def progress(turn: Turn, group: ClassicGroup) -> None:
    """Complete the open round if it waits for nobody. A first round always waits for its timer."""
    waiting = group.state is GroupState.PREPARING_REBALANCE and group.initial_wait_left_ms is None
    if waiting and group.all_joined:
        complete_join(turn, group)


# Completing ------------------------------------------------------------------------------------------


def complete_join(turn: Turn, group: ClassicGroup) -> None:
    """Close the door: whoever has not joined is out, except static members, who may still be restarting."""
    turn.decision.cancel_timer(join_key(group))
    group.initial_wait_left_ms = None
    for member in list(group.members.values()):
        if member.awaiting_join is None and member.instance_id is None:
            drop(turn, group, member.member_id)
    if not group.members:
        become_empty(turn, group)
        return
    if not _elect_leader(group):
        # Only static members that have not come back: wait for them or for their sessions to end.
        turn.decision.set_timer(join_key(group), group.rebalance_timeout_ms)
        return
    group.generation += 1
    group.protocol = group.elect_protocol()
    group.learn_subscriptions()
    group.enter(GroupState.COMPLETING_REBALANCE, turn.now_ms)
    group.pending_syncs = {m.member_id for m in group.members.values() if m.awaiting_join is not None}
    for member in group.members.values():
        if member.awaiting_join is not None:
            answer_join(turn, member, current_join(group, member))
            member.is_new = False
            restart_session(turn, group, member)
    turn.decision.set_timer(sync_key(group), group.rebalance_timeout_ms)


def become_empty(turn: Turn, group: ClassicGroup) -> None:
    """The last member is gone. A record says so: offsets expire from this moment on."""
    group.generation += 1
    group.protocol = None
    group.leader = None
    group.state_since_ms = turn.now_ms
    group.pending_syncs.clear()
    turn.decision.cancel_timer(join_key(group))
    turn.decision.cancel_timer(sync_key(group))
    turn.decision.records.append(GroupRecord(group_id=group.group_id, value=group.value()))


def current_join(group: ClassicGroup, member: Member, *, skip_assignment: bool = False) -> JoinReply:
    """The round's answer for one member."""
    return JoinReply(
        member_id=member.member_id,
        generation=group.generation,
        protocol_type=group.protocol_type,
        protocol=group.protocol,
        leader=group.leader or "",
        skip_assignment=skip_assignment,
        members=group.roster() if group.leader == member.member_id else (),
    )


def _elect_leader(group: ClassicGroup) -> bool:
    """The leader must be someone who joined; the present one stays if he did."""
    leader = group.members.get(group.leader or "")
    if leader is not None and leader.awaiting_join is not None:
        return True
    joined = next((member for member in group.members.values() if member.awaiting_join is not None), None)
    if joined is None:
        return False
    group.leader = joined.member_id
    return True


# Answers to those who wait ---------------------------------------------------------------------------


def answer_join(turn: Turn, member: Member, answer: JoinReply) -> None:
    if member.awaiting_join is not None:
        turn.decision.reply(member.awaiting_join, answer)
        member.awaiting_join = None


def answer_sync(turn: Turn, group: ClassicGroup, member: Member, answer: SyncReply) -> None:
    """Whoever is answered here has been silent while waiting, so its session starts anew."""
    if member.awaiting_sync is not None:
        turn.decision.reply(member.awaiting_sync, answer)
        member.awaiting_sync = None
        restart_session(turn, group, member)


def fail_syncs(turn: Turn, group: ClassicGroup, error: ErrorCode) -> None:
    for member in group.members.values():
        answer_sync(turn, group, member, SyncReply(error=error))
        member.assignment = b""


def drop(turn: Turn, group: ClassicGroup, member_id: str) -> None:
    """Take a member or a pending id out. One that still waits is told to start over with a new id."""
    member = group.members.get(member_id)
    if member is not None:
        answer_join(turn, member, JoinReply(error=ErrorCode.UNKNOWN_MEMBER_ID))
        answer_sync(turn, group, member, SyncReply(error=ErrorCode.UNKNOWN_MEMBER_ID))
    group.remove(member_id)
    turn.decision.cancel_timer(session_key(group, member_id))


# Timers ----------------------------------------------------------------------------------------------


def on_join_timer(turn: Turn, group: ClassicGroup) -> None:
    if group.state is not GroupState.PREPARING_REBALANCE:
        return
    left_ms = group.initial_wait_left_ms
    if left_ms and group.initial_wait_joined:
        # Somebody came while we waited: wait once more, within the rebalance timeout.
        delay_ms = min(turn.config.initial_rebalance_delay_ms, left_ms)
        group.initial_wait_joined = False
        group.initial_wait_left_ms = left_ms - delay_ms
        turn.decision.set_timer(join_key(group), delay_ms)
        return
    complete_join(turn, group)


def on_sync_timer(turn: Turn, group: ClassicGroup) -> None:
    if group.state not in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE) or not group.pending_syncs:
        return
    missing = sorted(group.pending_syncs)
    for member_id in missing:
        drop(turn, group, member_id)
    open_round(turn, group, f"{len(missing)} members did not send SyncGroup in time")


def on_session_timer(turn: Turn, group: ClassicGroup, member_id: str) -> None:
    if member_id in group.pending_joins:
        drop(turn, group, member_id)
        progress(turn, group)
        return
    member = group.members.get(member_id)
    if member is None or (_awaits_answer(member) and not member.is_new):
        return
    drop(turn, group, member_id)
    rebalance_or_progress(turn, group, f"session of member {member_id} timed out")


def _awaits_answer(member: Member) -> bool:
    return member.awaiting_join is not None or member.awaiting_sync is not None
