"""The consumer groups of one shard: which exist, and which handler an event goes to.

Owns: the groups of the new protocol beside the classic ones of the same shard (``groups/shard.py``), who may commit and
fetch offsets of such a group, and its descriptions. One group id has one type at a time: the first member of the new
protocol finds nothing, an empty classic group (deleted), or a classic group with members (converted), or is sent away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from broker.coordination.decision import Decision, Ticket, TimerKey
from broker.errors import ErrorCode, KafkaError
from broker.groups import rounds
from broker.groups.classic_group import ClassicGroup
from broker.groups.config import GroupConfig
from broker.groups.consumer import classic_members, fencing
from broker.groups.consumer import heartbeat as heartbeats
from broker.groups.consumer.events import (
    JOINING_EPOCH,
    LEAVING_EPOCH,
    ConsumerHeartbeat,
    ConsumerHeartbeatReply,
    DescribedConsumer,
    DescribedConsumerGroup,
)
from broker.groups.consumer.group import ConsumerGroup, ConsumerMember, without_epochs
from broker.groups.consumer.migration import to_consumer
from broker.groups.consumer.records import UNREVOKED_PARTITIONS, ConsumerRecord, GroupEpochRecord
from broker.groups.consumer.settings import DEFAULT_SETTINGS, ConsumerSettings
from broker.groups.consumer.topics import NO_TOPICS, Topics
from broker.groups.consumer.turn import ConsumerTurn, restart_revocation, restart_session
from broker.groups.events import Heartbeat, Join, Leave, Sync
from broker.groups.records import GroupRecord, Record

TOLD_INTERVAL_MS = 5_000
"""Heartbeats that change nothing tell telemetry of their group so often at most: they would have all of it sampled anew
for the sake of one time of day."""


class ConsumerGroups:
    def __init__(
        self, config: GroupConfig, *, apply: Callable[[Record], None], classic_groups: Mapping[str, ClassicGroup]
    ) -> None:
        self._config = config
        self._apply = apply
        self._classic_groups = classic_groups
        self.groups: dict[str, ConsumerGroup] = {}
        self.topics: Topics = NO_TOPICS
        self.settings_of: Callable[[str], ConsumerSettings] = lambda group_id: DEFAULT_SETTINGS
        """Both set by the driver, anew whenever they change."""

    # Replay ------------------------------------------------------------------------------------------

    def replay(self, record: ConsumerRecord) -> None:
        group = self.groups.get(record.group_id)
        if isinstance(record, GroupEpochRecord) and record.value is None:
            self.groups.pop(record.group_id, None)
            return
        if group is None:
            if _deletes(record):
                return
            group = self.groups[record.group_id] = ConsumerGroup(record.group_id)
        group.replay(record)

    def on_loaded(self, now_ms: int) -> Decision[Record]:
        """Every member gets a full session, and a full time to give up what it was told to."""
        decision: Decision[Record] = Decision()
        for group in self.groups.values():
            turn = self._turn(group.group_id, now_ms, decision)
            for member in group.members.values():
                restart_session(turn, group, member)
                if member.current.state == UNREVOKED_PARTITIONS and not member.is_classic:
                    restart_revocation(turn, group, member)
        return decision

    def on_timer(self, group: ConsumerGroup, key: TimerKey, now_ms: int) -> Decision[Record]:
        turn = self._turn(group.group_id, now_ms)
        fencing.on_timer(turn, group, key)
        return turn.decision

    # Members of the new protocol ---------------------------------------------------------------------

    def heartbeat(self, event: ConsumerHeartbeat, ticket: Ticket, now_ms: int) -> Decision[Record]:
        turn = self._turn(event.group_id, now_ms)
        try:
            reply = self._heartbeat(turn, event)
        except KafkaError as error:
            reply = ConsumerHeartbeatReply(error=error.code, message=error.message)
        turn.decision.reply(ticket, reply)
        return turn.decision

    def _heartbeat(self, turn: ConsumerTurn, event: ConsumerHeartbeat) -> ConsumerHeartbeatReply:
        if event.epoch <= LEAVING_EPOCH:
            return heartbeats.leave(turn, self._existing(event.group_id), event)
        if event.epoch == JOINING_EPOCH and event.group_id not in self.groups:
            return heartbeats.heartbeat(turn, self._created(turn, event.group_id), event)
        return heartbeats.heartbeat(turn, self._existing(event.group_id), event)

    def _existing(self, group_id: str) -> ConsumerGroup:
        group = self.groups.get(group_id)
        if group is None:
            is_other = group_id in self._classic_groups
            why = "is not a consumer group" if is_other else "not found"
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} {why}.")
        return group

    def _created(self, turn: ConsumerTurn, group_id: str) -> ConsumerGroup:
        """For the first member of the new protocol. Raises GROUP_ID_NOT_FOUND."""
        classic = self._classic_groups.get(group_id)
        if classic is not None and not classic.is_empty:
            to_consumer(turn, classic)
            return self.groups[group_id]
        if classic is not None:
            for pending_id in list(classic.pending_joins):
                rounds.drop(turn, classic, pending_id)
            turn.write(GroupRecord(group_id=group_id, value=None))
        group = self.groups[group_id] = ConsumerGroup(group_id)
        return group

    # Classic members ---------------------------------------------------------------------------------

    def join(self, group: ConsumerGroup, event: Join, ticket: Ticket, now_ms: int) -> Decision[Record]:
        turn = self._turn(group.group_id, now_ms)
        classic_members.join(turn, group, event, ticket)
        return turn.decision

    def sync(self, group: ConsumerGroup, event: Sync, ticket: Ticket, now_ms: int) -> Decision[Record]:
        turn = self._turn(group.group_id, now_ms)
        classic_members.sync(turn, group, event, ticket)
        return turn.decision

    def classic_heartbeat(
        self, group: ConsumerGroup, event: Heartbeat, ticket: Ticket, now_ms: int
    ) -> Decision[Record]:
        turn = self._turn(group.group_id, now_ms)
        classic_members.heartbeat(turn, group, event, ticket)
        return turn.decision

    def leave(self, group: ConsumerGroup, event: Leave, ticket: Ticket, now_ms: int) -> Decision[Record]:
        turn = self._turn(group.group_id, now_ms)
        classic_members.leave(turn, group, event, ticket)
        return turn.decision

    # Administration ----------------------------------------------------------------------------------

    def describe(self, group_id: str) -> DescribedConsumerGroup | None:
        """``None`` when there is no such group, or none of this type."""
        group = self.groups.get(group_id)
        if group is None:
            return None
        return DescribedConsumerGroup(
            group_id=group_id,
            state=group.state.value,
            epoch=group.epoch,
            assignment_epoch=group.target_epoch,
            assignor=group.preferred_assignor(self.settings_of(group_id).assignors[0]),
            members=tuple(_described(group, member) for member in group.members.values()),
        )

    def _turn(self, group_id: str, now_ms: int, decision: Decision[Record] | None = None) -> ConsumerTurn:
        return ConsumerTurn(
            config=self._config,
            now_ms=now_ms,
            decision=Decision() if decision is None else decision,
            topics=self.topics,
            settings=self.settings_of(group_id),
            apply=self._apply,
            classic_groups=self._classic_groups,
        )


def _deletes(record: ConsumerRecord) -> bool:
    return not getattr(record, "present", False) and getattr(record, "value", None) is None


def _described(group: ConsumerGroup, member: ConsumerMember) -> DescribedConsumer:
    metadata = member.metadata
    held = {topic_id: set(partitions) for topic_id, partitions in without_epochs(member.current.assigned).items()}
    for topic_id, partitions in member.current.revoking.items():
        held.setdefault(topic_id, set()).update(partitions)
    return DescribedConsumer(
        member_id=member.member_id,
        instance_id=metadata.instance_id,
        rack_id=metadata.rack_id,
        client_id=metadata.client_id,
        client_host=metadata.client_host,
        epoch=member.epoch,
        topics=metadata.topics,
        regex=metadata.regex,
        is_classic=member.is_classic,
        assigned={topic_id: frozenset(partitions) for topic_id, partitions in held.items()},
        target=group.target(member.member_id),
    )
