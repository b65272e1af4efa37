"""How members go: by leaving, by being silent, by not giving up in time what they must.

Owns: the end of a member, whatever brought it about, and the timers that bring it about. What it owned is free at once,
so nobody may be fenced who could still be believed to work: a member that was fenced is told so by its next request and
abandons everything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from broker.coordination.decision import TimerKey
from broker.groups.consumer.events import AWAY_EPOCH
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember, member_tombstones
from broker.groups.consumer.membership import bump, forget_regexes
from broker.groups.consumer.migration import may_downgrade, to_classic
from broker.groups.consumer.records import CurrentRecord
from broker.groups.consumer.turn import ConsumerTurn, cancel_timers


def fence(turn: ConsumerTurn, group: ConsumerGroup, member_ids: Collection[str], reason: str) -> None:
    if not member_ids:
        return
    if may_downgrade(turn, group, without=member_ids) and to_classic(turn, group, leaving=member_ids, reason=reason):
        return
    regexes = [group.members[member_id].metadata.regex for member_id in member_ids]
    for member_id in member_ids:
        turn.write(*member_tombstones(group.group_id, member_id))
        cancel_timers(turn, group.group_id, member_id)
    forget_regexes(turn, group, {regex for regex in regexes if regex})
    bump(turn, group, reason)


def stay_away(turn: ConsumerTurn, group: ConsumerGroup, member: ConsumerMember) -> None:
    """A static member goes and means to come back within its session, which is running. Its partitions wait for it;
    whoever comes back has them from the beginning, under whatever epoch."""
    assigned = {topic_id: dict.fromkeys(partitions, 0) for topic_id, partitions in member.current.assigned.items()}
    current = replace(member.current, epoch=AWAY_EPOCH, assigned=assigned, revoking={})
    turn.write(CurrentRecord(group_id=group.group_id, member_id=member.member_id, value=current))


def on_timer(turn: ConsumerTurn, group: ConsumerGroup, key: TimerKey) -> None:
    kind, member_id = key[0], key[-1]
    member = group.members.get(member_id)
    if member is None:
        return
    match kind:
        case "session":
            fence(turn, group, [member_id], f"session of member {member_id} timed out")
        case "revocation" if member.epoch == member.revocation_epoch and not member.is_classic:
            fence(turn, group, [member_id], f"member {member_id} did not give up its partitions in time")
        case "rejoin":
            fence(turn, group, [member_id], f"classic member {member_id} did not join again in time")
        case "resync":
            fence(turn, group, [member_id], f"classic member {member_id} did not send SyncGroup in time")
