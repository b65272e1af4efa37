"""The uniform assignor: as many partitions for each member as for the others, and as few moves as that allows.

Balance comes before stickiness. When all members subscribe to the same topics, quotas decide: everybody keeps what it
has up to its quota, and what is left over is dealt out like cards. Otherwise each topic's free partitions go to the least
loaded of its subscribers, topics with the most partitions per subscriber first, and then partitions move from the most
to the least loaded subscriber of their topic until no single move makes anything more even. Overlapping subscriptions
may need several passes over the topics; their number is bounded.

Cost: about linear in members, their subscriptions and partitions together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence

from broker.groups.consumer.assignors.spec import MemberSpec, PartitionCount, same_subscriptions
from broker.groups.consumer.records import Partitions
from broker.types import TopicId

BALANCING_PASSES_MAX = 16
"""Each pass about halves what is uneven."""


def assign_uniformly(members: Sequence[MemberSpec], partition_count: PartitionCount) -> Mapping[str, Partitions]:
    if not members:
        return {}
    if same_subscriptions(members):
        return _assign_by_quota(members, partition_count)
    return _Balancer(members, partition_count).run()


# Equal subscriptions ---------------------------------------------------------------------------------


def _assign_by_quota(members: Sequence[MemberSpec], partition_count: PartitionCount) -> Mapping[str, Partitions]:
    counts = {topic_id: partition_count(topic_id) for topic_id in sorted(members[0].topics)}
    quota, extras = divmod(sum(counts.values()), len(members))
    free = {topic_id: [True] * count for topic_id, count in counts.items()}
    kept: list[Partitions] = []
    rooms: list[int] = []
    """How many partitions each member lacks to its quota, without an extra one."""
    for member in members:
        keeps = _still_there(member.target, counts, free)
        size = sum(map(len, keeps.values()))
        if size > quota:
            limit = quota + (extras > 0)
            extras -= extras > 0
            if size > limit:
                keeps, size = _first(keeps, limit), limit
        for topic_id, partitions in keeps.items():
            taken = free[topic_id]
            for partition in partitions:
                taken[partition] = False
        kept.append(keeps)
        rooms.append(quota - size)
    for index, room in enumerate(rooms):
        if extras and room >= 0:
            rooms[index] += 1
            extras -= 1
    return _deal(members, kept, rooms, free)


def _still_there(target: Partitions, counts: Mapping[TopicId, int], free: Mapping[TopicId, list[bool]]) -> Partitions:
    """Of a former target what exists, is subscribed to and was not kept by another member; itself if that is all."""
    for topic_id, partitions in target.items():
        count = counts.get(topic_id, 0)
        if not all(partition < count and free[topic_id][partition] for partition in partitions):
            break
    else:
        return target
    return {
        topic_id: found
        for topic_id, partitions in target.items()
        if (found := frozenset(p for p in partitions if p < counts.get(topic_id, 0) and free[topic_id][p]))
    }


def _first(partitions: Partitions, limit: int) -> Partitions:
    kept: dict[TopicId, frozenset[int]] = {}
    for topic_id in sorted(partitions):
        if limit <= 0:
            break
        some = partitions[topic_id]
        kept[topic_id] = some if len(some) <= limit else frozenset(sorted(some)[:limit])
        limit -= len(some)
    return kept


def _deal(
    members: Sequence[MemberSpec],
    kept: Sequence[Partitions],
    rooms: list[int],
    free: Mapping[TopicId, Sequence[bool]],
) -> Mapping[str, Partitions]:
    """What nobody has, in turn to those who have room: a topic is spread over many members rather than a few."""
    dealt: dict[int, dict[TopicId, list[int]]] = {}
    hungry = [index for index, room in enumerate(rooms) if room > 0]
    turn = 0
    for topic_id, is_free in free.items():
        for partition, nobodys in enumerate(is_free):
            if not nobodys:
                continue
            turn %= len(hungry)
            index = hungry[turn]
            dealt.setdefault(index, {}).setdefault(topic_id, []).append(partition)
            rooms[index] -= 1
            if rooms[index]:
                turn += 1
            else:
                hungry.pop(turn)
    return {
        member.member_id: _joined(kept[index], dealt[index]) if index in dealt else kept[index]
        for index, member in enumerate(members)
    }


def _joined(kept: Partitions, more: Mapping[TopicId, list[int]]) -> Partitions:
    joined = dict(kept)
    for topic_id, partitions in more.items():
        joined[topic_id] = joined.get(topic_id, frozenset()) | frozenset(partitions)
    return joined


# Different subscriptions -----------------------------------------------------------------------------


class _Balancer:
    """Members by index; per topic the owner of each partition, and per member how many it has in all."""

    def __init__(self, members: Sequence[MemberSpec], partition_count: PartitionCount) -> None:
        self._members = members
        self._subscribers: dict[TopicId, list[int]] = {}
        for index, member in enumerate(members):
            for topic_id in member.topics:
                self._subscribers.setdefault(topic_id, []).append(index)
        self._owners: dict[TopicId, list[int]] = {
            topic_id: [-1] * partition_count(topic_id) for topic_id in self._subscribers
        }
        self._loads = [0] * len(members)

    def run(self) -> Mapping[str, Partitions]:
        self._keep()
        order = sorted(self._owners, key=self._urgency)
        for topic_id in order:
            self._fill(topic_id)
        for _ in range(BALANCING_PASSES_MAX):
            moved = [self._level(topic_id) for topic_id in order]
            if not any(moved):
                break
        return self._result()

    def _urgency(self, topic_id: TopicId) -> tuple[float, int, TopicId]:
        subscribers = len(self._subscribers[topic_id])
        return -len(self._owners[topic_id]) / subscribers, subscribers, topic_id

    def _keep(self) -> None:
        for index, member in enumerate(self._members):
            for topic_id, partitions in member.target.items():
                if topic_id not in member.topics:
                    continue
                owners = self._owners[topic_id]
                for partition in partitions:
                    if partition < len(owners) and owners[partition] < 0:
                        owners[partition] = index
                        self._loads[index] += 1

    def _fill(self, topic_id: TopicId) -> None:
        owners = self._owners[topic_id]
        free = [partition for partition, owner in enumerate(owners) if owner < 0]
        if not free:
            return
        least = [(self._loads[index], index) for index in self._subscribers[topic_id]]
        heapq.heapify(least)
        for partition in free:
            load, index = least[0]
            owners[partition] = index
            self._loads[index] = load + 1
            heapq.heapreplace(least, (load + 1, index))

    def _level(self, topic_id: TopicId) -> bool:
        """Move partitions of one topic from its most to its least loaded subscriber; says whether any moved."""
        owned: dict[int, list[int]] = {}
        for partition, owner in enumerate(self._owners[topic_id]):
            owned.setdefault(owner, []).append(partition)
        loads = self._loads
        most = [(-loads[index], index) for index in owned]
        least = [(loads[index], index) for index in self._subscribers[topic_id]]
        heapq.heapify(most)
        heapq.heapify(least)
        moved = False
        while most:
            giver = most[0][1]
            if -most[0][0] != loads[giver]:
                heapq.heapreplace(most, (-loads[giver], giver))
                continue
            taker = least[0][1]
            if least[0][0] != loads[taker]:
                heapq.heapreplace(least, (loads[taker], taker))
                continue
            if loads[giver] - loads[taker] <= 1:
                break
            partition = owned[giver].pop()
            self._owners[topic_id][partition] = taker
            loads[giver] -= 1
            loads[taker] += 1
            heapq.heapreplace(least, (loads[taker], taker))
            if owned[giver]:
                heapq.heapreplace(most, (-loads[giver], giver))
            else:
                heapq.heappop(most)
            moved = True
        return moved

    def _result(self) -> Mapping[str, Partitions]:
        assigned: list[dict[TopicId, list[int]]] = [{} for _ in self._members]
        for topic_id, owners in self._owners.items():
            for partition, owner in enumerate(owners):
                assigned[owner].setdefault(topic_id, []).append(partition)
        return dict(self._named(assigned))

    def _named(self, assigned: list[dict[TopicId, list[int]]]) -> Iterator[tuple[str, Partitions]]:
        for member, topics in zip(self._members, assigned, strict=True):
            frozen = {topic_id: frozenset(partitions) for topic_id, partitions in topics.items()}
            yield member.member_id, member.target if frozen == member.target else frozen
