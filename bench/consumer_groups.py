"""One large group of the consumer protocol, in the process that measures: what the pure core costs.

No socket and no disk: the figures are those of the state machine alone, at 1,000 members and 10,000 partitions. Growth is
shown by a group of a tenth of that size: near-linear means about ten times the time for ten times the group.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from itertools import count

from bench.rows import Row
from broker.cluster.image import PartitionImage, TopicImage
from broker.coordination.decision import Decision
from broker.groups.config import GroupConfig
from broker.groups.consumer.events import ConsumerHeartbeat, ConsumerHeartbeatReply
from broker.groups.consumer.settings import ConsumerSettings
from broker.groups.consumer.topics import Topics
from broker.groups.shard import GroupShard

MEMBERS = 1_000
PARTITIONS_PER_MEMBER = 10
TOPICS = 20
BEATS = 20_000
START_MS = 1_700_000_000_000


def consumer_groups(scale: float) -> Iterator[Row]:
    largest = max(int(MEMBERS * scale), 20)
    for members in (largest // 10, largest):
        for assignor in ("uniform", "range"):
            yield from _measure(members, assignor)


class _Bench:
    """A shard that is spoken to directly, on a clock that stands still."""

    def __init__(self, members: int) -> None:
        self.shard = GroupShard(GroupConfig())
        self.shard.consumer.topics = _topics(members * PARTITIONS_PER_MEMBER // TOPICS)
        self.records = 0
        self._tickets = count()

    def make_targets(self, *, at_once: bool) -> None:
        """With every change, or not at all after the first."""
        settings = ConsumerSettings(assignment_interval_ms=0 if at_once else 10**9)
        self.shard.consumer.settings_of = lambda group_id: settings

    def beat(self, event: ConsumerHeartbeat) -> ConsumerHeartbeatReply:
        decision: Decision = self.shard.consumer_heartbeat(event, next(self._tickets), START_MS)
        self.records += len(decision.records)
        ((_, reply),) = decision.replies
        assert isinstance(reply, ConsumerHeartbeatReply)
        assert not reply.error, reply.message
        return reply

    def settle(self) -> None:
        """Obedient heartbeats until nothing moves."""
        group = self.shard.consumer.groups["g"]
        before = -1
        while self.records != before:
            before = self.records
            for member in list(group.members.values()):
                owned = {topic_id: frozenset(found) for topic_id, found in member.current.assigned.items()}
                self.beat(ConsumerHeartbeat(group_id="g", member_id=member.member_id, epoch=member.epoch, owned=owned))


def _topics(partitions: int) -> Topics:
    partition = PartitionImage(leader=1, leader_epoch=0, isr=(1,), replicas=(1,), partition_epoch=0)
    images = [
        TopicImage(
            name=f"t{number}", topic_id=number.to_bytes(16, "big"), partitions=(partition,) * partitions, configs={}
        )
        for number in range(TOPICS)
    ]
    return Topics({one.name: one for one in images}, {one.topic_id: one for one in images})


def _join(number: int, assignor: str) -> ConsumerHeartbeat:
    return ConsumerHeartbeat(
        group_id="g",
        member_id=f"member-{number:06}",
        epoch=0,
        rebalance_timeout_ms=60_000,
        topics=tuple(sorted(f"t{topic}" for topic in range(TOPICS))),
        assignor=assignor,
        owned={},
    )


def _measure(members: int, assignor: str) -> Iterator[Row]:
    bench = _Bench(members)
    bench.make_targets(at_once=False)
    for number in range(members - 1):
        bench.beat(_join(number, assignor))
    bench.make_targets(at_once=True)
    bench.settle()
    started = time.perf_counter()
    bench.beat(_join(members, assignor))
    one_more_ms = (time.perf_counter() - started) * 1_000
    started, records = time.perf_counter(), bench.records
    bench.settle()
    settled_ms = (time.perf_counter() - started) * 1_000
    yield Row(
        name=f"consumer group of {members}, {assignor}: one more member",
        figures={
            "targets_ms": one_more_ms,
            "settled_ms": settled_ms,
            "written_records": float(bench.records - records),
        },
    )
    yield _heartbeats(bench, members, assignor)


def _heartbeats(bench: _Bench, members: int, assignor: str) -> Row:
    """Of members that have nothing to say, one after the other."""
    group = bench.shard.consumer.groups["g"]
    events = [
        ConsumerHeartbeat(group_id="g", member_id=member.member_id, epoch=member.epoch)
        for member in group.members.values()
    ]
    beats = BEATS // len(events) * len(events)
    started = time.perf_counter()
    for _ in range(beats // len(events)):
        for event in events:
            bench.beat(event)
    seconds = time.perf_counter() - started
    tracemalloc.start()
    for event in events:
        bench.beat(event)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return Row(
        name=f"consumer group of {members}, {assignor}: heartbeats without news",
        figures={"beat_us": seconds / beats * 1e6, "kept_bytes": kept / len(events)},
    )
