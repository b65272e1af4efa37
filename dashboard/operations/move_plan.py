"""Where partitions go that a person chose, to brokers that a person chose. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from broker.rebalancing.moves import BrokerFacts, Move, MovePlan, PartitionFacts


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
