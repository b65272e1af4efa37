"""Moves of partitions to other brokers as values: what they copy, how long that takes, what they risk. Pure.

A move adds the new replicas first and takes the old ones away when the new ones are in sync, so at no moment are there fewer copies
than before. What it cannot give is a spare copy that was not there: a partition at its limit stays at its limit until the move is
done.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field

from broker.types import TopicPartition


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFacts:
    topic: str
    partition: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    size_bytes: int | None
    """Of one copy; ``None`` when nobody has told."""
    min_isr: int | None
    moving: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFacts:
    id: int
    rack: str = ""
    online: bool = True
    accepts: bool = True
    """False for one that is being drained or was taken out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    facts: PartitionFacts
    after: tuple[int, ...]

    @property
    def key(self) -> TopicPartition:
        return TopicPartition(self.facts.topic, self.facts.partition)

    @property
    def changes(self) -> bool:
        return self.after != self.facts.replicas

    @property
    def adding(self) -> tuple[int, ...]:
        return tuple(broker for broker in self.after if broker not in self.facts.replicas)

    @property
    def removing(self) -> tuple[int, ...]:
        return tuple(broker for broker in self.facts.replicas if broker not in self.after)

    @property
    def copied_bytes(self) -> int | None:
        return None if self.facts.size_bytes is None else self.facts.size_bytes * len(self.adding)

    @property
    def leader_moves(self) -> bool:
        """Whether another broker has to lead when the move is done."""
        return self.facts.leader >= 0 and self.facts.leader not in self.after

    @property
    def without_spare(self) -> bool:
        """As long as it lasts, one loss stops writes with acks=all (or all of it, where there is one copy)."""
        needed = self.facts.min_isr or 1
        return len(self.facts.isr) <= min(needed, len(self.facts.replicas))

    @property
    def refuses_meanwhile(self) -> bool:
        """Whether writes with acks=all are refused from the beginning of the move until a copy is in sync: with more replicas to come,
        as many have to be in sync as min.insync.replicas says, where one was enough while there was one."""
        needed, in_sync = self.facts.min_isr or 1, len(self.facts.isr)
        now, then = len(self.facts.replicas), len({*self.facts.replicas, *self.after})
        return min(needed, now) <= in_sync < min(needed, then)

    @property
    def left_at_limit(self) -> bool:
        """Whether it would have no spare copy afterwards either."""
        return len(self.after) <= (self.facts.min_isr or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePlan:
    moves: tuple[Move, ...]
    throttle: int | None = None
    """Bytes a second that one broker may send or receive for it."""
    refusals: tuple[str, ...] = field(default=())
    """Why it cannot be carried out, in sentences."""

    @property
    def changed(self) -> tuple[Move, ...]:
        return tuple(move for move in self.moves if move.changes)

    @property
    def unchanged(self) -> int:
        return len(self.moves) - len(self.changed)

    @property
    def copied_bytes(self) -> int | None:
        """``None`` when the size of some partition is not known."""
        sizes = [move.copied_bytes for move in self.changed]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def unknown_sizes(self) -> int:
        return sum(move.copied_bytes is None for move in self.changed)

    @property
    def incoming(self) -> dict[int, int]:
        """Broker → bytes it receives."""
        counted: Counter[int] = Counter()
        for move in self.changed:
            for broker in move.adding:
                counted[broker] += move.facts.size_bytes or 0
        return dict(sorted(counted.items()))

    @property
    def outgoing(self) -> dict[int, int]:
        """Broker → bytes it sends: leaders serve every new replica."""
        counted: Counter[int] = Counter()
        for move in self.changed:
            counted[move.facts.leader] += move.copied_bytes or 0
        return dict(sorted(counted.items()))

    @property
    def seconds(self) -> float | None:
        """At the throttle, of the broker with most to do; ``None`` without one or when sizes are not known."""
        if not self.throttle or self.copied_bytes is None:
            return None
        busiest = max((*self.incoming.values(), *self.outgoing.values()), default=0)
        return busiest / self.throttle

    @property
    def without_spare(self) -> tuple[Move, ...]:
        return tuple(move for move in self.changed if move.without_spare)

    @property
    def refusing_meanwhile(self) -> tuple[Move, ...]:
        return tuple(move for move in self.changed if move.refuses_meanwhile)

    @property
    def left_at_limit(self) -> tuple[Move, ...]:
        return tuple(move for move in self.changed if move.left_at_limit and len(move.after) < len(move.facts.replicas))

    @property
    def leaders_moving(self) -> int:
        return sum(move.leader_moves for move in self.changed)

    @property
    def brokers(self) -> tuple[int, ...]:
        """All that send or receive."""
        return tuple(sorted({*self.incoming, *(broker for broker in self.outgoing if broker >= 0)}))

    @property
    def targets(self) -> dict[TopicPartition, tuple[int, ...]]:
        return {move.key: move.after for move in self.changed}

    @property
    def fingerprint(self) -> str:
        """Of what is shown: what is confirmed has to have the same. Sizes move by themselves and are left out."""
        shown = [
            [move.facts.topic, move.facts.partition, move.facts.replicas, move.after, move.facts.leader]
            for move in self.changed
        ]
        text = json.dumps([shown, self.throttle])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
