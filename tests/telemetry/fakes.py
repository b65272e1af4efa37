"""A broker's moving parts as the sampler sees them, without sockets and files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from broker.cluster.driver import ClusterStatistics
from broker.cluster.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from broker.config.broker import BrokerConfig
from broker.partition.manager import ManagerStatistics
from broker.partition.state import FollowerState
from broker.replication.driver import ReplicationStatistics, SourceStatistics
from broker.telemetry.facts import NetworkFacts
from broker.telemetry.sample import GroupSample, OffsetSample
from broker.transactions.driver import TransactionStatistics
from broker.transactions.fan_out import FanOutStatistics
from broker.types import TopicPartition


@dataclass
class FakeState:
    high_watermark: int = 0
    is_leader: bool = True
    min_insync_replicas: int = 1
    followers: dict[int, FollowerState] = field(default_factory=dict)


@dataclass
class FakeLog:
    log_start_offset: int = 0
    log_end_offset: int = 0
    flushed_offset: int = 0
    segment_count: int = 1
    size_bytes: int = 0
    last_record_ms: int = -1
    incomplete_reason: str = ""
    producer_state: list[int] = field(default_factory=list)
    timestamps: dict[int, int] = field(default_factory=dict)
    lookups: int = 0

    def timestamp_at(self, offset: int) -> int:
        self.lookups += 1
        return self.timestamps.get(offset, -1)


class FakePartition:
    def __init__(self, topic: str, partition: int) -> None:
        self.topic_partition = TopicPartition(topic, partition)
        self.topic_id = bytes(16)
        self.log = FakeLog()
        self.state = FakeState()
        self.bytes_in_total = 0
        self.bytes_out_total = 0
        self.replica_bytes_out_total = 0
        self.records_in_total = 0
        self.last_append_ms = -1
        self.lag = -1

    @property
    def high_watermark(self) -> int:
        return self.state.high_watermark

    @property
    def last_stable_offset(self) -> int:
        """No transaction is ever open here."""
        return self.state.high_watermark

    def append(self, timestamp_ms: int, *, size: int = 10) -> None:
        log = self.log
        log.timestamps[log.log_end_offset] = timestamp_ms
        log.log_end_offset += 1
        log.flushed_offset = log.log_end_offset
        log.size_bytes += size
        log.last_record_ms = max(log.last_record_ms, timestamp_ms)
        self.state.high_watermark = log.log_end_offset
        self.bytes_in_total += size
        self.records_in_total += 1
        self.last_append_ms = timestamp_ms

    def be_fetched_by(self, replica: int, *, at_ms: int, missing: int = 0, size: int = 10) -> None:
        follower = self.state.followers.setdefault(replica, FollowerState())
        follower.log_end_offset = max(0, self.log.log_end_offset - missing)
        follower.caught_up_ms = at_ms
        self.replica_bytes_out_total += size

    def move_log_start(self, offset: int) -> None:
        self.log.log_start_offset = max(self.log.log_start_offset, min(offset, self.log.log_end_offset))


class FakeManager:
    def __init__(self) -> None:
        self.held: dict[TopicPartition, FakePartition] = {}
        self.broken: dict[TopicPartition, str] = {}

    def partitions(self) -> Iterable[FakePartition]:
        return self.held.values()

    def offline(self) -> dict[TopicPartition, str]:
        return self.broken

    def statistics(self) -> ManagerStatistics:
        return ManagerStatistics(
            partitions=len(self.held),
            offline=len(self.broken),
            parked_produce=0,
            fsync_rounds_total=7,
            produce_refused_reason="",
            offline_log_dir_reason="",
            disk_free_bytes=1_000,
            disk_total_bytes=2_000,
        )


class FakeGroups:
    def __init__(self) -> None:
        self.groups: dict[str, GroupSample] = {}
        self._changed: set[str] = set()

    def put(self, group: GroupSample) -> None:
        self.groups[group.group_id] = group
        self._changed.add(group.group_id)

    def commit(self, group_id: str, topic: str, partition: int, offset: int) -> None:
        before = self.groups.get(group_id, GroupSample(group_id=group_id))
        kept = [o for o in before.offsets if (o.topic, o.partition) != (topic, partition)]
        offsets = [*kept, OffsetSample(topic=topic, partition=partition, committed=offset)]
        self.put(GroupSample(group_id=group_id, state="Stable", offsets=offsets))

    def remove(self, group_id: str) -> None:
        if self.groups.pop(group_id, None) is not None:
            self._changed.add(group_id)

    def take_changes(self) -> tuple[list[GroupSample], list[str]]:
        changed, self._changed = self._changed, set()
        present = [self.groups[group_id] for group_id in sorted(changed) if group_id in self.groups]
        return present, sorted(changed - self.groups.keys())


class FakeTransactions:
    def __init__(self) -> None:
        self.starts: list[int] = []

    def statistics(self) -> TransactionStatistics:
        return TransactionStatistics(
            ids=len(self.starts) + 1,
            open=len(self.starts),
            oldest_start_ms=min(self.starts, default=-1),
            markers=FanOutStatistics(transactions=0, partitions=0, stalled=0),
        )


class FakeReplication:
    def __init__(self) -> None:
        self.sources: list[SourceStatistics] = []

    def statistics(self) -> ReplicationStatistics:
        return ReplicationStatistics(sources=tuple(self.sources), throttled_ms_total=7)


class World:
    """A one-broker cluster that a test can push around; ``image`` is replaced, never changed."""

    def __init__(self) -> None:
        self.manager = FakeManager()
        self.groups = FakeGroups()
        self.transactions = FakeTransactions()
        self.replication = FakeReplication()
        broker = BrokerImage(
            id=1,
            host="127.0.0.1",
            port=9092,
            internal_host="127.0.0.1",
            internal_port=19092,
            rack=None,
            incarnation="one",
        )
        self.image = ClusterImage(cluster_id="cluster", brokers={1: broker}, controller_id=1)
        self.network = NetworkFacts(connections=3, requests_total=5)
        self.config = BrokerConfig()
        self.store_trouble = ""

    def statistics(self) -> ClusterStatistics:
        return ClusterStatistics(
            revision=self.image.revision,
            cluster_id=self.image.cluster_id,
            controller_id=self.image.controller_id,
            controller_epoch=self.image.controller_epoch,
            live_brokers=len(self.image.brokers),
            topics=len(self.image.topics_by_name),
            registered=True,
            store_trouble=self.store_trouble,
            store_trouble_since_ms=5 if self.store_trouble else -1,
        )

    def create_topic(self, name: str, partitions: int = 1, *, leader_epoch: int = 0, **configs: str) -> None:
        topic = TopicImage(
            name=name,
            topic_id=name.encode().ljust(16, b"\x01")[:16],
            partitions=tuple(
                PartitionImage(leader=1, leader_epoch=leader_epoch, isr=(1,), replicas=(1,), partition_epoch=0)
                for _ in range(partitions)
            ),
            configs=configs,
        )
        self._replace_topics({**self.image.topics_by_name, name: topic})
        for index in range(partitions):
            key = TopicPartition(name, index)
            self.manager.held.setdefault(key, FakePartition(name, index))

    def place(self, name: str, *, isr: tuple[int, ...], replicas: tuple[int, ...] = (1, 2, 3), leader: int = 1) -> None:
        """Another in-sync set for all partitions of a topic."""
        topic = self.image.topics_by_name[name]
        placed = PartitionImage(leader=leader, leader_epoch=0, isr=isr, replicas=replicas, partition_epoch=0)
        partitions = tuple(placed for _ in topic.partitions)
        self._replace_topics({**self.image.topics_by_name, name: replace(topic, partitions=partitions)})

    def delete_topic(self, name: str) -> None:
        self._replace_topics({key: topic for key, topic in self.image.topics_by_name.items() if key != name})
        for key in [key for key in self.manager.held if key.topic == name]:
            del self.manager.held[key]

    def partition(self, topic: str, index: int = 0) -> FakePartition:
        return self.manager.held[TopicPartition(topic, index)]

    def _replace_topics(self, topics: dict[str, TopicImage]) -> None:
        self.image = ClusterImage(
            cluster_id="cluster",
            brokers=self.image.brokers,
            controller_id=1,
            topics_by_name=topics,
            topics_by_id={topic.topic_id: topic for topic in topics.values()},
        )
