"""The plan that evens a cluster out: after a broker joined, left or came back, or to empty one that is to go. Pure.

In this order, each without undoing the one before:

1. what a leaving broker keeps goes to others;
2. replicas of one partition go to different racks, as far as there are racks;
3. every broker gets as many replicas as the others, up to one;
4. bytes: replicas change places between brokers where that brings two brokers clearly nearer to each other;
5. every broker is preferred leader as often as the others, up to one. This reorders replicas and copies nothing.

Each step of 2 to 5 makes a measure smaller that only moves can change, so planning ends, and a plan for the result of a plan is empty.
Nothing moves that does not make it smaller. Brokers that are away or draining keep what they have, and get nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence

from broker.rebalancing.layout import Layout, after
from broker.rebalancing.moves import BrokerFacts, Move, MovePlan, PartitionFacts

WORTH_MOVING_SHARE = 0.1
"""Two brokers whose bytes differ by less than this share of the larger are even enough: copying costs more than it gives."""
EXCHANGES_MAX = 1_000
"""In one plan, for bytes alone; a next plan goes on."""


def plan_even(
    partitions: Iterable[PartitionFacts],
    brokers: Iterable[BrokerFacts],
    *,
    leaving: int | None = None,
    throttle: int | None = None,
) -> MovePlan:
    """Everything that has to move, small copies first and mere reorderings last. ``refusals``: what could not be planned."""
    ordered = sorted(partitions, key=lambda facts: (facts.topic, facts.partition))
    layout = Layout(ordered, brokers, leaving)
    refusals = [] if leaving is None else _empty(layout, leaving)
    if layout.able:
        _spread_over_racks(layout)
        exchanges = EXCHANGES_MAX
        while _even_one_count(layout) or (exchanges > 0 and _even_some_bytes(layout)):
            exchanges -= 1
        _even_leaders(layout)
    moves = [
        move for index, facts in enumerate(ordered) if (move := Move(facts=facts, after=after(layout, index))).changes
    ]
    moves.sort(key=lambda move: (not move.adding, move.copied_bytes or 0))
    return MovePlan(moves=tuple(moves), throttle=throttle, refusals=tuple(refusals))


def _empty(layout: Layout, leaving: int) -> list[str]:
    refusals = []
    # The largest first: they are the hardest to place evenly.
    for index in sorted(layout.kept_by.get(leaving, ()), key=lambda index: (-layout.size(index), index)):
        facts = layout.partitions[index]
        free = layout.free_for(index, leaving)
        if not layout.is_movable(index):
            why = "is being moved already" if facts.moving else "has no leader: there is nothing to copy from"
            refusals.append(f"{facts.topic}-{facts.partition} {why}.")
        elif not free:
            refusals.append(
                f"{facts.topic}-{facts.partition} has nowhere to go: all other brokers have it, or take nothing."
            )
        else:
            layout.replace(index, leaving, free[0])
    return refusals


def _spread_over_racks(layout: Layout) -> None:
    for index, replicas in enumerate(layout.replicas):
        if not layout.is_movable(index):
            continue
        while better := _rack_move(layout, index, replicas):
            layout.replace(index, *better)


def _rack_move(layout: Layout, index: int, replicas: Sequence[int]) -> tuple[int, int] | None:
    spread = layout.spread(replicas)
    for old in sorted((one for one in replicas if one in layout.able), key=lambda one: (-layout.count[one], one)):
        free = layout.free_for(index, old)
        if free and layout.spread_after(index, old, free[0]) > spread:
            return old, free[0]
    return None


def _even_one_count(layout: Layout) -> bool:
    """One replica from a broker with many to one with at least two fewer; of those possible, the one that evens bytes best."""
    count = layout.count
    pairs = [(old, new) for old in layout.able for new in layout.able if count[old] - count[new] >= 2]
    for old, new in sorted(pairs, key=lambda pair: (count[pair[1]] - count[pair[0]], pair)):
        wanted = (layout.bytes[old] - layout.bytes[new]) / 2
        chosen = min(
            (index for index in layout.kept_by[old] if _may_go(layout, index, old, new)),
            key=lambda index: (abs(layout.size(index) - wanted), index),
            default=None,
        )
        if chosen is not None:
            layout.replace(chosen, old, new)
            return True
    return False


def _even_some_bytes(layout: Layout) -> bool:
    """Two replicas change places, where that makes the difference of two brokers clearly smaller."""
    size = layout.bytes
    pairs = [(old, new) for old in layout.able for new in layout.able if _differ(size[old], size[new])]
    for old, new in sorted(pairs, key=lambda pair: (size[pair[1]] - size[pair[0]], pair)):
        exchange = _best_exchange(layout, old, new, (size[old] - size[new]) / 2)
        if exchange is not None:
            larger, smaller = exchange
            layout.replace(larger, old, new)
            layout.replace(smaller, new, old)
            return True
    return False


def _differ(more: int, less: int) -> bool:
    return more - less > WORTH_MOVING_SHARE * more


def _best_exchange(layout: Layout, old: int, new: int, wanted: float) -> tuple[int, int] | None:
    """The pair whose sizes differ most nearly by ``wanted``, if that takes at least half of the difference away."""
    theirs = sorted(
        (index for index in layout.kept_by[new] if _may_go(layout, index, new, old)),
        key=lambda index: (layout.size(index), index),
    )
    sizes = [layout.size(index) for index in theirs]
    best, best_miss = None, wanted / 2
    for larger in sorted(layout.kept_by[old]):
        if not theirs or not _may_go(layout, larger, old, new):
            continue
        at = bisect_left(sizes, layout.size(larger) - wanted)
        for smaller in theirs[max(0, at - 1) : at + 1]:
            miss = abs(layout.size(larger) - layout.size(smaller) - wanted)
            if miss < best_miss:
                best, best_miss = (larger, smaller), miss
    return best


def _may_go(layout: Layout, index: int, old: int, new: int) -> bool:
    return layout.is_movable(index) and new not in layout.replicas[index] and layout.keeps_racks(index, old, new)


def _even_leaders(layout: Layout) -> None:
    """From a broker that is preferred too often, over others if need be, to one that is at least two less often."""
    leads: Counter[int] = Counter(dict.fromkeys(layout.able, 0))
    leads.update(replicas[0] for replicas in layout.replicas)
    while path := _leader_path(layout, leads):
        leads[layout.replicas[path[0][0]][0]] -= 1
        leads[path[-1][1]] += 1
        for index, broker in path:
            replicas = layout.replicas[index]
            replicas.remove(broker)
            replicas.insert(0, broker)


def _leader_path(layout: Layout, leads: Counter[int]) -> list[tuple[int, int]]:
    """(partition, its new first replica), one handing on to the next; empty when all is even."""
    offers: dict[int, list[tuple[int, int]]] = {}
    for index, replicas in enumerate(layout.replicas):
        if layout.is_movable(index):
            offers.setdefault(replicas[0], []).extend((index, one) for one in replicas[1:] if one in leads)
    able = set(layout.able)
    for start in sorted(able, key=lambda one: (-leads[one], one)):
        path = _search(start, offers, lambda broker, start=start: leads[start] - leads[broker] >= 2, able)  # type: ignore[misc]
        if path:
            return path
    return []


def _search(
    start: int, offers: dict[int, list[tuple[int, int]]], enough: Callable[[int], bool], able: set[int]
) -> list[tuple[int, int]]:
    came: dict[int, tuple[int, int, int]] = {}
    queue = deque([start])
    while queue:
        broker = queue.popleft()
        for index, other in offers.get(broker, ()):
            if other == start or other in came or other not in able:
                continue
            came[other] = (broker, index, other)
            if enough(other):
                path = []
                while other != start:
                    other, index, new = came[other]
                    path.append((index, new))
                return path[::-1]
            queue.append(other)
    return []
