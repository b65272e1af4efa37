"""A shard on a stage: performs its decisions against a list instead of a partition, with time that is told to move."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from broker.coordination.decision import Decision, Ticket, TimerKey
from broker.groups.classic_group import ClassicGroup
from broker.groups.config import GroupConfig
from broker.groups.events import (
    CommitOffsets,
    Heartbeat,
    Join,
    JoinReply,
    Leave,
    LeavingMember,
    OffsetToCommit,
    Sync,
)
from broker.groups.records import Record
from broker.groups.shard import GroupShard

GROUP = "orders"
START_MS = 1_700_000_000_000


def subscription(*topics: str, version: int = 1, owned: bytes = b"") -> bytes:
    """Consumer protocol metadata: version, topics, no user data, and whatever newer versions append."""
    parts = [struct.pack(">hi", version, len(topics))]
    parts += [struct.pack(">h", len(topic)) + topic.encode() for topic in topics]
    return b"".join(parts) + struct.pack(">i", -1) + owned


def assignment(**topics: list[int]) -> bytes:
    parts = [struct.pack(">hi", 0, len(topics))]
    for topic, partitions in topics.items():
        parts.append(struct.pack(">h", len(topic)) + topic.encode())
        parts.append(struct.pack(f">i{len(partitions)}i", len(partitions), *partitions))
    return b"".join(parts) + struct.pack(">i", -1)


class Stage:
    def __init__(self, **config: Any) -> None:
        self.config = replace(GroupConfig(initial_rebalance_delay_ms=0), **config)
        self.now_ms = START_MS
        self.log: list[Record] = []
        self.replies: dict[Ticket, Any] = {}
        self.timers: dict[TimerKey, int] = {}
        self.shard = GroupShard(self.config)
        self._tickets = count(1)
        self._ids = count(1)

    # Requests ----------------------------------------------------------------------------------------

    def join(
        self,
        member_id: str = "",
        *,
        instance: str | None = None,
        protocols: tuple[tuple[str, bytes], ...] = (("range", subscription("clicks")),),
        protocol_type: str = "consumer",
        group: str = GROUP,
        session_ms: int = 10_000,
        rebalance_ms: int = 60_000,
        version: int = 9,
        client: str = "app",
        reason: str = "",
    ) -> Ticket:
        event = Join(
            group_id=group,
            member_id=member_id,
            instance_id=instance,
            client_id=client,
            client_host="/10.0.0.1",
            protocol_type=protocol_type,
            protocols=protocols,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            generated_id=f"{next(self._ids)}",
            requires_member_id=version >= 4,
            supports_skip_assignment=version >= 9,
            reason=reason,
        )
        return self.run(lambda ticket: self.shard.join(event, ticket, self.now_ms))

    def enter(self, **how: Any) -> tuple[str, Ticket]:
        """Join as a new dynamic member the modern way: ask for an id, come back with it."""
        member_id = self.answer(self.join(**how)).member_id
        return member_id, self.join(member_id, **how)

    def sync(self, joined: JoinReply, assignments: dict[str, bytes] | None = None, **how: Any) -> Ticket:
        event = Sync(
            group_id=GROUP,
            generation=how.get("generation", joined.generation),
            member_id=joined.member_id,
            instance_id=how.get("instance"),
            protocol_type=how.get("protocol_type"),
            protocol=how.get("protocol"),
            assignments=tuple((assignments or {}).items()),
        )
        return self.run(lambda ticket: self.shard.sync(event, ticket, self.now_ms))

    def heartbeat(self, member_id: str, generation: int, instance: str | None = None) -> Any:
        event = Heartbeat(group_id=GROUP, generation=generation, member_id=member_id, instance_id=instance)
        return self.answer(self.run(lambda ticket: self.shard.heartbeat(event, ticket, self.now_ms)))

    def leave(self, *members: LeavingMember | str) -> Any:
        leaving = tuple(LeavingMember(member_id=one) if isinstance(one, str) else one for one in members)
        event = Leave(group_id=GROUP, members=leaving)
        return self.answer(self.run(lambda ticket: self.shard.leave(event, ticket, self.now_ms)))

    def commit(self, *offsets: OffsetToCommit, group: str = GROUP, **who: Any) -> Any:
        event = CommitOffsets(group_id=group, offsets=offsets, **who)
        return self.answer(self.run(lambda ticket: self.shard.commit_offsets(event, ticket, self.now_ms)))

    def delete_group(self, group: str = GROUP) -> Any:
        return self.answer(self.run(lambda ticket: self.shard.delete_group(group, ticket, self.now_ms)))

    def delete_offsets(self, *wanted: tuple[str, int], group: str = GROUP) -> Any:
        return self.answer(self.run(lambda ticket: self.shard.delete_offsets(group, wanted, ticket, self.now_ms)))

    # The world ---------------------------------------------------------------------------------------

    @property
    def group(self) -> ClassicGroup:
        return self.shard.groups[GROUP]

    def run(self, event: Callable[[Ticket], Decision]) -> Ticket:
        ticket = next(self._tickets)
        self.perform(event(ticket))
        return ticket

    def perform(self, decision: Decision) -> None:
        for index, record in enumerate(decision.records):
            if index >= decision.replayed:
                self.shard.replay(record)
            self.log.append(record)
        for ticket, answer in decision.replies:
            assert ticket not in self.replies, "a ticket is answered once"
            self.replies[ticket] = answer
        for key, delay_ms in decision.timers.items():
            if delay_ms is None:
                self.timers.pop(key, None)
            else:
                self.timers[key] = self.now_ms + delay_ms

    def answer(self, ticket: Ticket) -> Any:
        assert ticket in self.replies, "still waiting"
        return self.replies[ticket]

    def waits(self, ticket: Ticket) -> bool:
        return ticket not in self.replies

    def advance(self, milliseconds: int) -> None:
        """Let time pass, firing timers one by one at their own moments."""
        end = self.now_ms + milliseconds
        while self.timers and min(self.timers.values()) <= end:
            key = min(self.timers, key=lambda key: (self.timers[key], key))
            self.now_ms = max(self.now_ms, self.timers.pop(key))
            self.perform(self.shard.on_timer(key, self.now_ms))
        self.now_ms = end

    def settle(self) -> None:
        """Fire what is due at this very moment."""
        self.advance(0)

    def reload(self) -> None:
        """Crash: what was not written is gone, and nobody who waited is ever answered."""
        self.timers.clear()
        self.shard = GroupShard(self.config)
        for record in self.log:
            self.shard.replay(record)
        self.perform(self.shard.on_loaded(self.now_ms))

    def form(self, count_: int = 1, **how: Any) -> list[JoinReply]:
        """A stable group of so many members, the leader first; each is assigned its own id as bytes."""
        tickets = [self.enter(**how)[1] for _ in range(count_)]
        self.settle()
        self.advance(self.config.initial_rebalance_delay_ms * (count_ + 1))
        joined = sorted((self.answer(ticket) for ticket in tickets), key=lambda one: one.member_id != one.leader)
        self.sync(joined[0], {one.member_id: one.member_id.encode() for one in joined})
        for one in joined[1:]:
            self.sync(one)
        return joined
