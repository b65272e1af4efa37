"""The groups of one partition of ``__consumer_offsets``: the whole pure core behind one door.

Owns: which groups exist here, their offsets, and the routing of events and timers to them. Groups of the new protocol
are ``consumer/shard.py``'s; what both types have in common, and which type a request meets, is decided here. The driver calls a handler
(which makes records and replies), replays the records, and throws the whole shard away when an append fails: there is
no way back from a half-applied event, so there is no rollback code.

Invariants: a group object exists for every group that has offsets (also pending in a transaction), a record, a member
or a pending member, and for none else; it is in ``groups`` or in ``consumer.groups``, never in both. ``changed`` holds every group whose description may differ since it was last drained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from broker.coordination.decision import Decision, Ticket, TimerKey
from broker.coordination.transaction import TransactionalProducer, TransactionMarker
from broker.errors import ErrorCode, KafkaError
from broker.groups import requests, rounds
from broker.groups.classic_group import ClassicGroup, GroupState
from broker.groups.config import GroupConfig
from broker.groups.consumer import offsets as consumer_offsets
from broker.groups.consumer.events import ConsumerHeartbeat
from broker.groups.consumer.group import ConsumerGroup
from broker.groups.consumer.shard import TOLD_INTERVAL_MS, ConsumerGroups
from broker.groups.consumer_protocol import PROTOCOL_TYPE
from broker.groups.events import (
    CONSUMER_TYPE,
    CommitOffsets,
    CommitOffsetsInTransaction,
    CommitReply,
    DeleteOffsetsReply,
    DescribedGroup,
    DescribedMember,
    FetchedOffset,
    Heartbeat,
    Join,
    JoinReply,
    Leave,
    LeaveReply,
    ListedGroup,
    Sync,
    SyncReply,
)
from broker.groups.offsets import Dies, OffsetStore, always, check_committer, expired, of_gone_topics, offset_record
from broker.groups.pending_offsets import PendingOffsets
from broker.groups.records import GroupRecord, OffsetRecord, Record
from broker.groups.rounds import Turn
from broker.groups.verifications import Verifications
from broker.types import TopicId


class GroupShard:
    def __init__(self, config: GroupConfig) -> None:
        self._config = config
        self.groups: dict[str, ClassicGroup] = {}
        """The classic ones."""
        self.consumer = ConsumerGroups(config, apply=self.replay, classic_groups=self.groups)
        self.offsets = OffsetStore()
        self.pending = PendingOffsets()
        self.verifications = Verifications()
        self.changed: set[str] = set()
        """Drained by the driver after each step."""

    # Replay ------------------------------------------------------------------------------------------

    def replay(self, record: Record) -> None:
        self.changed.add(record.group_id)
        if isinstance(record, OffsetRecord):
            self.offsets.replay(record)
            if record.value is not None:
                self.pending.overtake(record)
                self._keep(record.group_id)
            else:
                self.pending.remove(record)
        elif not isinstance(record, GroupRecord):
            self.consumer.replay(record)
            if record.group_id in self.consumer.groups:
                self.groups.pop(record.group_id, None)
            elif self._has_offsets(record.group_id):
                self._keep(record.group_id)
        elif record.value is not None:
            self.consumer.groups.pop(record.group_id, None)
            self._group(record.group_id).replay(record.value)
        else:
            # Compaction may have kept an older outcome in front of this: nothing of it survives.
            self.groups.pop(record.group_id, None)
            if self._has_offsets(record.group_id):
                self._keep(record.group_id)
        self._forget_if_void(record.group_id)

    def replay_in_transaction(self, record: Record, producer: TransactionalProducer) -> None:
        if not isinstance(record, OffsetRecord) or record.value is None:
            # No coordinator writes such a thing; whoever did meant it at once.
            self.replay(record)
            return
        self.changed.add(record.group_id)
        self.pending.add(record, producer)
        self._keep(record.group_id)

    def complete_transaction(self, marker: TransactionMarker) -> None:
        self.verifications.void(marker.producer_id, marker.producer_epoch, marker.transaction_version)
        in_force, concerned = self.pending.complete(marker.producer_id, commit=marker.commit)
        for record in in_force:
            self.offsets.replay(record)
        for group_id in concerned:
            self.changed.add(group_id)
            self._forget_if_void(group_id)

    def on_loaded(self, now_ms: int) -> Decision[Record]:
        """Every member gets a full session to be heard in; an overfull group meets again."""
        turn = self._turn(now_ms)
        for group in self.groups.values():
            for member in group.members.values():
                rounds.restart_session(turn, group, member)
            if len(group.members) > self._config.size_max:
                rounds.open_round(turn, group, "the group is larger than group.max.size")
        turn.decision.timers |= self.consumer.on_loaded(now_ms).timers
        return turn.decision

    def on_timer(self, key: TimerKey, now_ms: int) -> Decision[Record]:
        turn = self._turn(now_ms)
        kind, group_id = key[0], key[1]
        consumer_group = self.consumer.groups.get(group_id)
        if consumer_group is not None:
            self.changed.add(group_id)
            return self.consumer.on_timer(consumer_group, key, now_ms)
        group = self.groups.get(group_id)
        if group is not None:
            self.changed.add(group_id)
            if kind == "session":
                rounds.on_session_timer(turn, group, key[2])
            elif kind == "join":
                rounds.on_join_timer(turn, group)
            elif kind == "sync":
                rounds.on_sync_timer(turn, group)
            self._forget_if_void(group_id)
        return turn.decision

    # Members -----------------------------------------------------------------------------------------

    def join(self, event: Join, ticket: Ticket, now_ms: int) -> Decision[Record]:
        turn = self._turn(now_ms)
        consumer_group = self.consumer.groups.get(event.group_id)
        if consumer_group is not None:
            self.changed.add(event.group_id)
            if not consumer_group.is_empty:
                return self.consumer.join(consumer_group, event, ticket, now_ms)
            # Nobody is left to mind: the group is classic from now on.
            self._write(turn, consumer_group.tombstones())
        group = self.groups.get(event.group_id)
        if group is None and event.member_id:
            turn.decision.reply(ticket, JoinReply(error=ErrorCode.UNKNOWN_MEMBER_ID, member_id=event.member_id))
            return turn.decision
        group = self._touch(event.group_id)
        requests.join(turn, group, event, ticket)
        self._forget_if_void(event.group_id)
        return turn.decision

    def sync(self, event: Sync, ticket: Ticket, now_ms: int) -> Decision[Record]:
        consumer_group = self.consumer.groups.get(event.group_id)
        if consumer_group is not None:
            return self.consumer.sync(consumer_group, event, ticket, now_ms)
        turn = self._turn(now_ms)
        if event.group_id in self.groups:
            requests.sync(turn, self._touch(event.group_id), event, ticket)
        else:
            turn.decision.reply(ticket, SyncReply(error=ErrorCode.UNKNOWN_MEMBER_ID))
        return turn.decision

    def heartbeat(self, event: Heartbeat, ticket: Ticket, now_ms: int) -> Decision[Record]:
        consumer_group = self.consumer.groups.get(event.group_id)
        if consumer_group is not None:
            self._heard_of(consumer_group, now_ms)
            return self.consumer.classic_heartbeat(consumer_group, event, ticket, now_ms)
        turn = self._turn(now_ms)
        if event.group_id in self.groups:
            requests.heartbeat(turn, self._touch(event.group_id), event, ticket)
        else:
            turn.decision.reply(ticket, ErrorCode.UNKNOWN_MEMBER_ID)
        return turn.decision

    def consumer_heartbeat(self, event: ConsumerHeartbeat, ticket: Ticket, now_ms: int) -> Decision[Record]:
        consumer_group = self.consumer.groups.get(event.group_id)
        if consumer_group is not None:
            self._heard_of(consumer_group, now_ms)
        return self.consumer.heartbeat(event, ticket, now_ms)

    def leave(self, event: Leave, ticket: Ticket, now_ms: int) -> Decision[Record]:
        consumer_group = self.consumer.groups.get(event.group_id)
        if consumer_group is not None:
            return self.consumer.leave(consumer_group, event, ticket, now_ms)
        turn = self._turn(now_ms)
        if event.group_id in self.groups:
            requests.leave(turn, self._touch(event.group_id), event, ticket)
            self._forget_if_void(event.group_id)
        else:
            unknown = tuple((leaving, ErrorCode.UNKNOWN_MEMBER_ID) for leaving in event.members)
            turn.decision.reply(ticket, LeaveReply(members=unknown))
        return turn.decision

    # Offsets -----------------------------------------------------------------------------------------

    def commit_offsets(self, event: CommitOffsets, ticket: Ticket, now_ms: int) -> Decision[Record]:
        turn = self._turn(now_ms)
        group = self.groups.get(event.group_id)
        consumer_group = self.consumer.groups.get(event.group_id)
        try:
            if consumer_group is not None:
                consumer_offsets.check_committer(consumer_group, event)
            elif group is not None:
                check_committer(group, event)
            elif event.generation >= 0:
                known = event.knows_group_id_not_found
                raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND if known else ErrorCode.ILLEGAL_GENERATION)
        except KafkaError as error:
            turn.decision.reply(ticket, CommitReply(error=error.code))
            return turn.decision
        if group is not None and group.state in (GroupState.STABLE, GroupState.PREPARING_REBALANCE):
            member = group.members[event.member_id]
            member.last_heartbeat_ms = now_ms
            rounds.restart_session(turn, group, member)
        return self._commit(turn, event, ticket)

    def commit_offsets_in_transaction(
        self, event: CommitOffsetsInTransaction, ticket: Ticket, now_ms: int
    ) -> Decision[Record]:
        """Records that the runtime writes in the name of the producer. They do not keep the member's session alive."""
        turn = self._turn(now_ms)
        group = self.groups.get(event.commit.group_id)
        consumer_group = self.consumer.groups.get(event.commit.group_id)
        try:
            if consumer_group is not None:
                consumer_offsets.check_committer(consumer_group, event.commit, transactional=True)
            elif group is not None:
                check_committer(group, event.commit, transactional=True)
            elif event.commit.generation >= 0:
                raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        except KafkaError as error:
            turn.decision.reply(ticket, CommitReply(error=error.code))
            return turn.decision
        return self._commit(turn, event.commit, ticket)

    def _commit(self, turn: Turn, event: CommitOffsets, ticket: Ticket) -> Decision[Record]:
        errors = []
        for item in event.offsets:
            try:
                turn.decision.records.append(offset_record(event, item, self._config, turn.now_ms))
                errors.append(ErrorCode.NONE)
            except KafkaError as error:
                errors.append(error.code)
        turn.decision.reply(ticket, CommitReply(errors=tuple(errors)))
        return turn.decision

    def check_fetcher(self, group_id: str, member_id: str | None, epoch: int) -> None:
        """May this client ask for the group's offsets in this epoch? Raises ``KafkaError``; a classic group never does."""
        consumer_group = self.consumer.groups.get(group_id)
        if consumer_group is not None:
            consumer_offsets.check_fetcher(consumer_group, member_id, epoch)

    def fetch_offsets(
        self, group_id: str, wanted: Iterable[tuple[str, int]] | None, *, require_stable: bool = False
    ) -> list[FetchedOffset]:
        found = self.offsets.fetch(group_id, wanted)
        if not require_stable or not self.pending.concerns(group_id):
            return found
        return [
            FetchedOffset(topic=item.topic, partition=item.partition, error=ErrorCode.UNSTABLE_OFFSET_COMMIT)
            if self.pending.is_unstable(group_id, item.topic, item.partition)
            else item
            for item in found
        ]

    def delete_offsets(
        self, group_id: str, wanted: Sequence[tuple[str, int]], ticket: Ticket, now_ms: int
    ) -> Decision[Record]:
        """OffsetDelete. Offsets in use, of a topic the members are subscribed to, stay."""
        turn = self._turn(now_ms)
        group = self.find(group_id)
        if group is None:
            turn.decision.reply(ticket, DeleteOffsetsReply(error=ErrorCode.GROUP_ID_NOT_FOUND))
            return turn.decision
        if isinstance(group, ClassicGroup) and not group.is_empty and not group.uses_consumer_protocol:
            turn.decision.reply(ticket, DeleteOffsetsReply(error=ErrorCode.NON_EMPTY_GROUP))
            return turn.decision
        errors = []
        for topic, partition in wanted:
            if not group.is_empty and group.is_subscribed_to(topic):
                errors.append(ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC)
                continue
            errors.append(ErrorCode.NONE)
            pending = self.pending.is_unstable(group_id, topic, partition)
            if pending or self.offsets.get(group_id, topic, partition) is not None:
                record = OffsetRecord(group_id=group_id, topic=topic, partition=partition, value=None)
                turn.decision.records.append(record)
        turn.decision.reply(ticket, DeleteOffsetsReply(errors=tuple(errors)))
        return turn.decision

    def bury_offsets_of_gone_topics(
        self, topic_ids: Callable[[str], TopicId | None], deleted: frozenset[str] = frozenset()
    ) -> list[Record]:
        """Tombstones after topics were deleted; ``topic_ids`` knows the topics that exist now."""
        dies = of_gone_topics(topic_ids, deleted)
        group_ids = dict.fromkeys((*self.offsets.groups(), *self.pending.groups()))
        return [record for group_id in group_ids for record in self._tombstones(group_id, dies)]

    def expire(self, now_ms: int) -> list[Record]:
        """Tombstones for offsets past their retention, and for empty groups that then hold nothing."""
        retention_ms = self._config.offsets_retention_ms
        records: list[Record] = []
        for group in self.groups.values():
            kept = self._expire_offsets(group.group_id, expired(group, retention_ms, now_ms), records)
            if group.is_empty and not kept and not group.pending_joins and group.durable is not None:
                records.append(GroupRecord(group_id=group.group_id, value=None))
        for consumer_group in self.consumer.groups.values():
            dies = consumer_offsets.expired(consumer_group, retention_ms, now_ms)
            if not self._expire_offsets(consumer_group.group_id, dies, records) and consumer_group.is_empty:
                records += consumer_group.tombstones()
        return records

    def _expire_offsets(self, group_id: str, dies: Dies, records: list[Record]) -> bool:
        """Adds tombstones to ``records``; says whether the group keeps an offset, or may yet get one."""
        dead = [
            record
            for record in self.offsets.tombstones(group_id, dies)
            if not self.pending.is_unstable(group_id, record.topic, record.partition)
        ]
        records += dead
        kept = sum(map(len, self.offsets.of_group(group_id).values())) - len(dead)
        return kept > 0 or self.pending.concerns(group_id)

    # Administration ----------------------------------------------------------------------------------

    def delete_group(self, group_id: str, ticket: Ticket, now_ms: int) -> Decision[Record]:
        turn = self._turn(now_ms)
        group = self.find(group_id)
        if group is None:
            turn.decision.reply(ticket, ErrorCode.GROUP_ID_NOT_FOUND)
            return turn.decision
        if not group.is_empty:
            turn.decision.reply(ticket, ErrorCode.NON_EMPTY_GROUP)
            return turn.decision
        turn.decision.records += self._tombstones(group_id)
        if isinstance(group, ConsumerGroup):
            turn.decision.records += group.tombstones()
        else:
            for member_id in list(group.pending_joins):
                rounds.drop(turn, group, member_id)
            if group.durable is not None:
                turn.decision.records.append(GroupRecord(group_id=group_id, value=None))
        turn.decision.reply(ticket, ErrorCode.NONE)
        self.changed.add(group_id)
        self._forget_if_void(group_id)
        return turn.decision

    def describe(self, group_id: str) -> DescribedGroup | None:
        """``None`` when there is no such classic group. What members agreed on is shown only once they have agreed."""
        group = self.groups.get(group_id)
        if group is None:
            return None
        stable = group.state is GroupState.STABLE
        members = tuple(
            DescribedMember(
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                metadata=member.metadata(group.protocol) if stable else b"",
                assignment=member.assignment if stable else b"",
            )
            for member in group.members.values()
        )
        return DescribedGroup(
            group_id=group_id,
            state=group.state.value,
            protocol_type=group.protocol_type or "",
            protocol=group.protocol or "" if stable else "",
            members=members,
        )

    def list_groups(self) -> list[ListedGroup]:
        return [
            ListedGroup(group_id=group.group_id, protocol_type=group.protocol_type or "", state=group.state.value)
            for group in self.groups.values()
        ] + [
            ListedGroup(
                group_id=group.group_id, protocol_type=PROTOCOL_TYPE, state=group.state.value, type=CONSUMER_TYPE
            )
            for group in self.consumer.groups.values()
        ]

    # Groups ------------------------------------------------------------------------------------------

    def find(self, group_id: str) -> ClassicGroup | ConsumerGroup | None:
        return self.groups.get(group_id) or self.consumer.groups.get(group_id)

    def group_ids(self) -> Iterator[str]:
        yield from self.groups
        yield from self.consumer.groups

    def _turn(self, now_ms: int) -> Turn:
        return Turn(config=self._config, now_ms=now_ms)

    def _write(self, turn: Turn, records: Iterable[Record]) -> None:
        """Replay at once, because what follows in this turn builds on it."""
        for record in records:
            self.replay(record)
            turn.decision.records.append(record)
            turn.decision.replayed += 1

    def _heard_of(self, group: ConsumerGroup, now_ms: int) -> None:
        if not group.told_ms <= now_ms < group.told_ms + TOLD_INTERVAL_MS:
            group.told_ms = now_ms
            self.changed.add(group.group_id)

    def _keep(self, group_id: str) -> None:
        """Offsets keep a group alive, of whatever type; one that has nothing else is classic."""
        if group_id not in self.consumer.groups:
            self._group(group_id)

    def _touch(self, group_id: str) -> ClassicGroup:
        self.changed.add(group_id)
        return self._group(group_id)

    def _group(self, group_id: str) -> ClassicGroup:
        group = self.groups.get(group_id)
        if group is None:
            group = self.groups[group_id] = ClassicGroup(group_id=group_id)
        return group

    def _forget_if_void(self, group_id: str) -> None:
        group = self.groups.get(group_id)
        if group is not None and group.is_void and not self._has_offsets(group_id):
            del self.groups[group_id]

    def _has_offsets(self, group_id: str) -> bool:
        return bool(self.offsets.of_group(group_id)) or self.pending.concerns(group_id)

    def _tombstones(self, group_id: str, dies: Dies = always) -> list[Record]:
        """One for every partition of which an offset for which ``dies`` is in force or pending."""
        found = self.offsets.tombstones(group_id, dies)
        pending = self.pending.tombstones(group_id, dies)
        return list(dict.fromkeys((*found, *pending)))
