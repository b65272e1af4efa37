"""One event being handled by a consumer group, and the two places everything in this package writes through.

Owns: ``ConsumerTurn`` and the keys of a consumer group's timers. Unlike a classic group's, its handlers build each step on
the last one (the member that has just been written is in the targets that are computed next), so ``write`` replays a
record at once; the runtime is told how many it need not replay. What is still true: state changes by replay alone.

Timers, by key
- ``("session", group, member)``: silent for the session timeout.
- ``("revocation", group, member)``: has not given partitions up within its rebalance timeout.
- ``("rejoin", group, member)``: a classic member that was told to send JoinGroup and has not.
- ``("resync", group, member)``: a classic member that joined and did not fetch its assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.coordination.decision import TimerKey
from broker.groups.classic_group import ClassicGroup
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember
from broker.groups.consumer.settings import ConsumerSettings
from broker.groups.consumer.topics import Topics
from broker.groups.records import Record
from broker.groups.rounds import Turn


@dataclass(slots=True, kw_only=True)
class ConsumerTurn(Turn):
    topics: Topics
    settings: ConsumerSettings
    apply: Callable[[Record], None]
    classic_groups: Mapping[str, ClassicGroup]
    """Those of the same shard."""

    def write(self, *records: Record) -> None:
        decision = self.decision
        for record in records:
            assert decision.replayed == len(decision.records), "records that are not replayed yet come after these"
            self.apply(record)
            decision.records.append(record)
            decision.replayed += 1


def session_key(group_id: str, member_id: str) -> TimerKey:
    return ("session", group_id, member_id)


def revocation_key(group_id: str, member_id: str) -> TimerKey:
    return ("revocation", group_id, member_id)


def rejoin_key(group_id: str, member_id: str) -> TimerKey:
    return ("rejoin", group_id, member_id)


def resync_key(group_id: str, member_id: str) -> TimerKey:
    return ("resync", group_id, member_id)


def restart_session(turn: ConsumerTurn, group: ConsumerGroup, member: ConsumerMember) -> None:
    classic = member.metadata.classic
    timeout_ms = turn.settings.session_timeout_ms if classic is None else classic.session_timeout_ms
    turn.decision.set_timer(session_key(group.group_id, member.member_id), timeout_ms)


def restart_revocation(turn: ConsumerTurn, group: ConsumerGroup, member: ConsumerMember) -> None:
    member.revocation_epoch = member.epoch
    turn.decision.set_timer(revocation_key(group.group_id, member.member_id), member.metadata.rebalance_timeout_ms)


def cancel_timers(turn: ConsumerTurn, group_id: str, member_id: str) -> None:
    for key in (session_key, revocation_key, rejoin_key, resync_key):
        turn.decision.cancel_timer(key(group_id, member_id))
