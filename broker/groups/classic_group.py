"""One group of the classic protocol: who is in it, what it agreed on, and the round it is in.

Theory of operation
-------------------
Members meet in *rounds*. JoinGroup opens or enters a round; when everyone expected has joined (or time is up) the
round gets the next generation, a protocol by vote and a leader. The leader's SyncGroup carries everyone's assignment;
it is the round's outcome. An outcome is a record: ``Stable`` with assignments, or ``Empty``. Only ``replay`` brings a
group into those two states, so a restart and live traffic walk the same path. What happens *inside* a round (who
waits with which ticket, who was given an id but has not joined) is volatile by Kafka's own schema: after a reload the
group stands at its last outcome and the members, told ILLEGAL_GENERATION or UNKNOWN_MEMBER_ID, meet again.

    Empty ──join──▶ PreparingRebalance ──all joined, or time is up──▶ CompletingRebalance ──leader syncs──▶ Stable
      ▲                 │       ▲                                          │                                 │
      └─ nobody left ───┘       └─────── join, leave, expiry, changed subscription ─────────────────────────┘

What each request gets ("member" = a known id of this group; anyone else: UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID
when the instance id now belongs to another member id)

| request | Empty | PreparingRebalance | CompletingRebalance | Stable |
|---|---|---|---|---|
| JoinGroup, new | opens the first round, which waits ``group.initial.rebalance.delay.ms`` | waits in the round | opens a round | opens a round |
| JoinGroup, member | - | waits in the round | same protocols: the round's answer again; else opens a round | follower with the same protocols: the current answer; leader or changed: opens a round |
| JoinGroup, known instance without id | - | replaces the old member id, waits | replaces, opens a round | replaces; same subscription: answered at once, no round; else opens one |
| SyncGroup | UNKNOWN_MEMBER_ID | REBALANCE_IN_PROGRESS | waits; the leader's ends the round | its assignment |
| Heartbeat | UNKNOWN_MEMBER_ID | REBALANCE_IN_PROGRESS (counts as alive) | ok | ok |
| LeaveGroup | UNKNOWN_MEMBER_ID | leaves; may complete the round | leaves; opens a round | leaves; opens a round |
| OffsetCommit, member | UNKNOWN_MEMBER_ID | ok | REBALANCE_IN_PROGRESS | ok |
| OffsetCommit, generation -1, no member | ok | UNKNOWN_MEMBER_ID | UNKNOWN_MEMBER_ID | UNKNOWN_MEMBER_ID |
| DeleteGroups | deleted | NON_EMPTY_GROUP | NON_EMPTY_GROUP | NON_EMPTY_GROUP |

``Dead`` is never a state an object of this class is in: a deleted group is gone from the shard, and Dead is what
describing an absent group says.

Invariants
----------
- ``leader`` is a member whenever there is one; no two members share an instance id.
- CompletingRebalance and Stable: ≥ 1 member, and ``protocol`` is one that every member supports.
- generation never falls, except to that of the last outcome when the shard is reloaded.
- Stable or Empty: ``value()`` equals the last replayed value. (That is the law reload rests on.)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from broker.coordination.decision import Ticket
from broker.errors import ErrorCode, KafkaError
from broker.groups import consumer_protocol
from broker.groups.events import JoinedMember
from broker.groups.records import GroupValue, MemberValue
from broker.types import NO_TIMESTAMP, TimestampMs


class GroupState(StrEnum):
    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


@dataclass(slots=True, kw_only=True)
class Member:
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]
    """After a reload only the one that had been agreed on is known."""
    assignment: bytes = b""
    awaiting_join: Ticket | None = None
    awaiting_sync: Ticket | None = None
    is_new: bool = False
    """Has never received a generation; its wait is bounded by a longer timeout of its own."""
    last_heartbeat_ms: int = NO_TIMESTAMP

    def metadata(self, protocol: str | None) -> bytes:
        for name, metadata in self.protocols:
            if name == protocol:
                return metadata
        return b""

    def protocol_names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.protocols)


@dataclass(slots=True, kw_only=True)
class ClassicGroup:
    group_id: str
    state: GroupState = GroupState.EMPTY
    state_since_ms: int = NO_TIMESTAMP
    protocol_type: str | None = None
    """``None`` or empty: a *simple* group, which only stores offsets."""
    protocol: str | None = None
    generation: int = 0
    leader: str | None = None
    members: dict[str, Member] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)
    """Instance id → member id."""
    subscribed: frozenset[str] | None = frozenset()
    """Topics of all members by the agreed protocol; ``None`` when that cannot be known."""
    durable: GroupValue | None = None
    """The last replayed value; ``None`` while no record of this group exists."""

    # The round: volatile.
    pending_joins: dict[str, None] = field(default_factory=dict)
    """Ids given out with MEMBER_ID_REQUIRED and not used yet; a round waits for them."""
    pending_syncs: set[str] = field(default_factory=set)
    """Members that got this generation's join answer and have not sent SyncGroup."""
    initial_wait_left_ms: int | None = None
    """Not ``None`` during the first round of an empty group: how much longer it may still be extended."""
    initial_wait_joined: bool = False
    """A member came since the wait was last set, so it is extended once more."""
    _shared: frozenset[str] | None = None
    rebalances_total: int = 0
    last_rebalance_reason: str = ""

    # Questions ---------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        return self.state is GroupState.EMPTY

    @property
    def is_simple(self) -> bool:
        return not self.protocol_type

    @property
    def is_void(self) -> bool:
        """Nothing was written about it and nobody is here: it may be forgotten."""
        return self.durable is None and self.is_empty and not self.members and not self.pending_joins

    @property
    def uses_consumer_protocol(self) -> bool:
        return self.protocol_type == consumer_protocol.PROTOCOL_TYPE

    @property
    def awaiting_join_count(self) -> int:
        return sum(member.awaiting_join is not None for member in self.members.values())

    @property
    def all_joined(self) -> bool:
        return not self.pending_joins and all(member.awaiting_join is not None for member in self.members.values())

    @property
    def rebalance_timeout_ms(self) -> int:
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def member(self, member_id: str, instance_id: str | None) -> Member:
        """The member that speaks. Raises UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID."""
        if instance_id is not None:
            owner = self.instances.get(instance_id)
            if owner is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            if owner != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID)
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member

    def shared_protocols(self) -> frozenset[str]:
        """What every member supports. Kept between joins: working it out looks at everybody."""
        if self._shared is None:
            names = [member.protocol_names() for member in self.members.values()]
            self._shared = frozenset.intersection(*names) if names else frozenset()
        return self._shared

    def supports(self, protocol_type: str, names: list[str], *, beside: str | None) -> bool:
        """Could a member with these protocols share the group with all members other than ``beside``?"""
        if not protocol_type or not names:
            return False
        if self.members.keys() <= {beside}:
            return True
        if protocol_type != self.protocol_type:
            return False
        if not self.shared_protocols().isdisjoint(names):
            return True
        others = [member.protocol_names() for member in self.members.values() if member.member_id != beside]
        return not frozenset(names).isdisjoint(frozenset.intersection(*others))

    def elect_protocol(self) -> str:
        """Each member votes for its favourite among those everyone supports; ties go to the leader's order."""
        members = list(self.members.values())
        shared = self.shared_protocols()
        assert shared, "nobody is let in who shares no protocol with all others"
        votes = dict.fromkeys(shared, 0)
        for member in members:
            votes[next(name for name, _ in member.protocols if name in votes)] += 1
        leader = self.members.get(self.leader or "", members[0])
        order = [name for name, _ in leader.protocols]
        return min(shared, key=lambda name: (-votes[name], order.index(name)))

    def roster(self) -> tuple[JoinedMember, ...]:
        """What the leader is told about everyone."""
        return tuple(
            JoinedMember(
                member_id=member.member_id,
                instance_id=member.instance_id,
                metadata=member.metadata(self.protocol),
            )
            for member in self.members.values()
        )

    def is_subscribed_to(self, topic: str) -> bool:
        """Unknown subscriptions of a consumer group count as subscribed: offsets are not lost to ignorance."""
        return self.uses_consumer_protocol if self.subscribed is None else topic in self.subscribed

    def value(
        self, assignments: dict[str, bytes] | None = None, *, state_timestamp_ms: TimestampMs | None = None
    ) -> GroupValue:
        """This group as a record, with the members' own assignments or those given."""
        return GroupValue(
            protocol_type=self.protocol_type or "",
            generation=self.generation,
            protocol=self.protocol,
            leader=self.leader,
            state_timestamp_ms=self.state_since_ms if state_timestamp_ms is None else state_timestamp_ms,
            members=tuple(
                MemberValue(
                    member_id=member.member_id,
                    instance_id=member.instance_id,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    rebalance_timeout_ms=member.rebalance_timeout_ms,
                    session_timeout_ms=member.session_timeout_ms,
                    subscription=member.metadata(self.protocol),
                    assignment=member.assignment if assignments is None else assignments.get(member.member_id, b""),
                )
                for member in self.members.values()
            ),
        )

    # Changes of a round ------------------------------------------------------------------------------

    def enter(self, state: GroupState, now_ms: int) -> None:
        self.state = state
        self.state_since_ms = now_ms

    def add(self, member: Member, protocol_type: str) -> None:
        assert member.member_id not in self.members
        assert member.instance_id is None or member.instance_id not in self.instances
        if not self.members:
            self.protocol_type = protocol_type
        if self._shared is not None:
            self._shared = self._shared & member.protocol_names() if self.members else None
        self.members[member.member_id] = member
        if member.instance_id is not None:
            self.instances[member.instance_id] = member.member_id
        if self.leader is None:
            self.leader = member.member_id
        self.pending_joins.pop(member.member_id, None)

    def remove(self, member_id: str) -> None:
        """Forget a member or a pending id; a leader that goes is replaced by the longest-standing member."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._shared = None
        if member is not None and member.instance_id is not None:
            del self.instances[member.instance_id]
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        self.pending_joins.pop(member_id, None)
        self.pending_syncs.discard(member_id)

    def change_protocols(self, member: Member, protocols: tuple[tuple[str, bytes], ...]) -> None:
        before = member.protocol_names()
        member.protocols = protocols
        if member.protocol_names() != before:
            self._shared = None

    def rename(self, old_id: str, new_id: str) -> Member:
        """Give a static member its new id, in the old one's place."""
        members = list(self.members.values())
        for member in members:
            if member.member_id == old_id:
                member.member_id = new_id
        self.members = {member.member_id: member for member in members}
        renamed = self.members[new_id]
        assert renamed.instance_id is not None
        self.instances[renamed.instance_id] = new_id
        if self.leader == old_id:
            self.leader = new_id
        if old_id in self.pending_syncs:
            self.pending_syncs.remove(old_id)
            self.pending_syncs.add(new_id)
        return renamed

    def learn_subscriptions(self) -> None:
        """Work out ``subscribed`` from the members' metadata of the agreed protocol."""
        if not self.uses_consumer_protocol:
            self.subscribed = None
            return
        topics: set[str] = set()
        # Most members of a large group say the same.
        for metadata in {member.metadata(self.protocol) for member in self.members.values()}:
            subscribed = consumer_protocol.subscribed_topics(metadata)
            if subscribed is None:
                self.subscribed = None
                return
            topics |= subscribed
        self.subscribed = frozenset(topics)

    # Replay ------------------------------------------------------------------------------------------

    def replay(self, value: GroupValue) -> None:
        """The outcome of a round becomes the state. Members already here keep what a record cannot hold."""
        members: dict[str, Member] = {}
        for stored in value.members:
            live = self.members.get(stored.member_id)
            agreed = (value.protocol or "", stored.subscription)
            members[stored.member_id] = Member(
                member_id=stored.member_id,
                instance_id=stored.instance_id,
                client_id=stored.client_id,
                client_host=stored.client_host,
                rebalance_timeout_ms=stored.rebalance_timeout_ms,
                session_timeout_ms=stored.session_timeout_ms,
                # On load the member may be that of an older outcome, which knew another subscription.
                protocols=live.protocols if live and agreed in live.protocols else (agreed,),
                assignment=stored.assignment,
                awaiting_join=live.awaiting_join if live else None,
                awaiting_sync=live.awaiting_sync if live else None,
                is_new=live.is_new if live else False,
                last_heartbeat_ms=live.last_heartbeat_ms if live else NO_TIMESTAMP,
            )
        self.durable = value
        self.members = members
        self._shared = None
        self.instances = {m.instance_id: m.member_id for m in members.values() if m.instance_id is not None}
        self.protocol_type = value.protocol_type or None
        self.protocol = value.protocol
        self.generation = value.generation
        self.leader = value.leader
        self.state = GroupState.STABLE if members else GroupState.EMPTY
        self.state_since_ms = value.state_timestamp_ms
        self.learn_subscriptions()
