"""Where chosen partitions would go, what that copies, and what it risks. Pure.

A move adds the new replicas first and takes the old ones away when the new ones are in sync, so at no moment are there fewer copies
than before. What it cannot give is a spare copy that was not there: a partition at its limit stays at its limit until the move is
done.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
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


def plan_spread(
    partitions: Sequence[PartitionFacts], brokers: Iterable[BrokerFacts], factor: int | None, throttle: int | None
) -> MovePlan:
    """Spread them evenly over ``brokers``, replicas of one partition over racks, moving as little as possible."""
    chosen = {broker.id: broker for broker in brokers}
    refusals = _refusals(partitions, chosen)
    largest = max((factor or len(facts.replicas) for facts in partitions), default=0)
    if largest > len(chosen):
        refusals.append(f"{largest} replicas do not fit on {len(chosen)} broker{'' if len(chosen) == 1 else 's'}.")
        return MovePlan(moves=(), throttle=throttle, refusals=tuple(refusals))
    load: Counter[int] = Counter(dict.fromkeys(chosen, 0))
    leads: Counter[int] = Counter(dict.fromkeys(chosen, 0))
    kept = {
        facts: [one for one in facts.replicas if one in chosen][: factor or len(facts.replicas)] for facts in partitions
    }
    for replicas in kept.values():
        load.update(replicas)
    moves = []
    for facts in partitions:
        replicas = kept[facts]
        while len(replicas) < (factor or len(facts.replicas)):
            racks = {chosen[one].rack for one in replicas if chosen[one].rack}
            free = [one for one in chosen if one not in replicas]
            replicas.append(min(free, key=lambda one: (chosen[one].rack in racks, load[one], one)))
            load[replicas[-1]] += 1
        if replicas[0] != facts.replicas[0]:
            # Its preferred leader leaves: the one of its replicas that leads least comes first.
            first = min(replicas, key=lambda one: (leads[one], replicas.index(one)))
            replicas = [first, *(one for one in replicas if one != first)]
        leads[replicas[0]] += 1
        moves.append(Move(facts=facts, after=tuple(replicas)))
    return MovePlan(moves=tuple(moves), throttle=throttle, refusals=tuple(refusals))


def plan_exactly(
    partitions: Sequence[PartitionFacts], brokers: Mapping[int, BrokerFacts], after: Sequence[int], throttle: int | None
) -> MovePlan:
    """All of them to the same replicas, in this order."""
    unknown = [one for one in after if one not in brokers]
    refusals = _refusals(partitions, {one: brokers[one] for one in after if one in brokers})
    refusals += [f"There is no broker {one}." for one in unknown]
    if len(set(after)) != len(after):
        refusals.append("A broker is named twice.")
    return MovePlan(
        moves=tuple(Move(facts=facts, after=tuple(after)) for facts in partitions),
        throttle=throttle,
        refusals=tuple(refusals),
    )


def _refusals(partitions: Iterable[PartitionFacts], chosen: Mapping[int, BrokerFacts]) -> list[str]:
    refusals = [f"Broker {one.id} does not answer." for one in chosen.values() if not one.online]
    refusals += [
        f"Broker {one.id} takes no new replicas: it is being drained or was taken out."
        for one in chosen.values()
        if not one.accepts
    ]
    leaderless = [facts for facts in partitions if facts.leader < 0]
    if leaderless:
        refusals.append(
            f"{leaderless[0].topic}-{leaderless[0].partition} has no leader: there is nothing to copy from until it has."
        )
    moving = [facts for facts in partitions if facts.moving]
    if moving:
        refusals.append(f"{moving[0].topic}-{moving[0].partition} is being moved already: cancel that first.")
    return refusals
