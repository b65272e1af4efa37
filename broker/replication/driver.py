"""Following leaders: which partition is fetched from whom over which link, and everything that links share.

Owns the replicas of partitions that other brokers lead, and the links to those brokers. The partition manager says what
to follow (``ReplicationListener``), the cluster image says where the brokers are. What must stay true:

- a partition sits on exactly one link, that of its leader; it is off every link before its role changes;
- one that is behind its leader's high watermark by more than an answer sits on the catch-up link of that leader until
  it is not, so that fresh data of the others never waits behind its history;
- an idle partition costs nothing: it is in a fetch session that nobody talks about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.clock import Clock
from broker.errors import KafkaError
from broker.protocol.replica_fetch import FollowerRequests
from broker.quotas.replication import is_throttled
from broker.replication.leader_range import ask_leader_range
from broker.replication.link import FetchLink
from broker.replication.ports import Connect, DamagedPartitions, ImageSource, PeerRequests
from broker.replication.replica import Replica
from broker.replication.throttle import Throttle
from broker.types import NO_LEADER, BrokerId, LeaderEpoch, TopicPartition

if TYPE_CHECKING:
    from broker.cluster.image import ImageDelta
    from broker.config.broker import BrokerConfig
    from broker.partition.driver import Partition

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatistics:
    """One source broker, both links together."""

    broker_id: BrokerId
    connected: bool
    partitions: int
    catching_up: int
    bytes_total: int
    fetches_total: int
    failures_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationStatistics:
    sources: tuple[SourceStatistics, ...]
    throttled_ms_total: int


class Replication:
    def __init__(
        self,
        *,
        node_id: BrokerId,
        cluster: ImageSource,
        config: Callable[[], BrokerConfig],
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        connect: Connect,
        peers: PeerRequests,
        partitions: DamagedPartitions,
    ) -> None:
        self.node_id = node_id
        self.clock = clock
        self.loop = loop
        self.connect = connect
        self.live_bytes_total = 0
        """Of partitions that are not catching up."""
        self._cluster = cluster
        self._config = config
        self._peers = peers
        self._partitions = partitions
        self._replicas: dict[TopicPartition, Replica] = {}
        self._links: dict[tuple[BrokerId, bool], FetchLink] = {}
        """(source, whether it is the one for catching up) → link"""
        self._throttle = Throttle(clock.monotonic(), config().follower_replication_throttled_rate)
        self._asking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def config(self) -> BrokerConfig:
        return self._config()

    # Life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._timer = self.loop.call_later(TICK_SECONDS, self._tick)

    async def stop(self) -> None:
        """Nothing is appended any more, whatever the image says from now on."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for replica in self._replicas.values():
            replica.stop()
        self._replicas.clear()
        for task in self._asking:
            task.cancel()
        links, self._links = list(self._links.values()), {}
        await asyncio.gather(*(link.stop() for link in links))

    def _tick(self) -> None:
        self._timer = self.loop.call_later(TICK_SECONDS, self._tick)
        now, config = self.clock.monotonic(), self.config
        timeout_seconds = (config.replica_fetch_wait_max_ms + config.replica_socket_timeout_ms) / 1_000
        for link in self._links.values():
            link.tick(now, timeout_seconds)
        for replica in tuple(self._replicas.values()):
            if replica.partition.log.offline_reason is not None:
                self._partitions.copy_anew(replica.partition.topic_partition)

    # Following (ReplicationListener) ----------------------------------------------------------------

    def on_follow(self, partition: Partition, leader_id: BrokerId, leader_epoch: LeaderEpoch) -> None:
        """This broker follows ``leader_id``; called again for another leader, or a newer epoch of the same one."""
        name = partition.topic_partition
        replica = self._replicas.get(name)
        if replica is not None and (replica.partition is not partition or replica.core.leader != leader_id):
            self.on_stop_following(name)
            replica = None
        if leader_id == NO_LEADER or self._stopped:
            return
        if replica is not None:
            replica.follow(leader_id, leader_epoch)
            replica.owner.on_moved(replica)
            return
        link = self._link(leader_id, catch_up=False)
        replica = self._replicas[name] = Replica(partition, link)
        partition.on_durable = replica.on_flushed
        self._configure(replica)
        replica.follow(leader_id, leader_epoch)
        link.add(replica)

    def on_stop_following(self, topic_partition: TopicPartition) -> None:
        replica = self._replicas.pop(topic_partition, None)
        if replica is not None:
            replica.stop()
            self._link_of(replica).remove(replica)

    def _link(self, source_id: BrokerId, *, catch_up: bool) -> FetchLink:
        link = self._links.get((source_id, catch_up))
        if link is None:
            link = self._links[source_id, catch_up] = FetchLink(self, source_id, catch_up=catch_up)
        return link

    @staticmethod
    def _link_of(replica: Replica) -> FetchLink:
        assert isinstance(replica.owner, FetchLink)
        return replica.owner

    # The image --------------------------------------------------------------------------------------

    def apply(self, delta: ImageDelta) -> None:
        """Brokers come back at other addresses; limits and throttles change."""
        if delta.brokers_changed:
            ourselves = delta.old.brokers.get(self.node_id) != delta.new.brokers.get(self.node_id)
            for link in self._links.values():
                source = link.source_id
                if ourselves:
                    link.begin_anew()
                elif delta.old.brokers.get(source) != delta.new.brokers.get(source):
                    link.source_changed()
        if delta.broker_configs_changed:
            self._throttle.set_rate(self.config.follower_replication_throttled_rate, self.clock.monotonic())
        if delta.broker_configs_changed or delta.changed_topics:
            for replica in self._replicas.values():
                self._configure(replica)

    def _configure(self, replica: Replica) -> None:
        config = replica.partition.log.config
        # An answer is written in one piece, and segments are to be about as large as they are configured.
        replica.max_bytes = max(1, min(self.config.replica_fetch_max_bytes, config.segment_bytes))
        replica.throttled = is_throttled(config.follower_replication_throttled_replicas, replica.index, self.node_id)

    def address_of(self, broker_id: BrokerId) -> tuple[str, int] | None:
        """Of its internal listener; ``None`` while it is not alive."""
        broker = self._cluster.image.brokers.get(broker_id)
        return None if broker is None else (broker.internal_host, broker.internal_port)

    def requests(self) -> FollowerRequests:
        """Requests as the broker of the present registration."""
        broker = self._cluster.image.brokers.get(self.node_id)
        return FollowerRequests(self.node_id, -1 if broker is None else broker.epoch, f"broker-{self.node_id}")

    # What links ask for -----------------------------------------------------------------------------

    def on_appended(self, replica: Replica, byte_count: int) -> None:
        link = self._link_of(replica)
        behind = replica.lag > 0
        if not link.catch_up:
            self.live_bytes_total += byte_count
        if replica.throttled:
            now = self.clock.monotonic()
            wait_ms = self._throttle.spend(byte_count, now)
            if wait_ms and behind:
                replica.delay(int(now * 1_000) + wait_ms)
        if link.catch_up:
            if not behind:
                self._move(replica, catch_up=False)
        elif behind and 2 * byte_count >= replica.max_bytes:
            self._move(replica, catch_up=True)

    def _move(self, replica: Replica, *, catch_up: bool) -> None:
        link = self._link_of(replica)
        link.remove(replica)
        self._link(link.source_id, catch_up=catch_up).add(replica)

    def wake_at_due(self, replica: Replica) -> None:
        seconds = max(0.0, replica.core.due_ms / 1_000 - self.clock.monotonic()) + 0.001
        self.loop.call_later(seconds, self._on_due, replica)

    def _on_due(self, replica: Replica) -> None:
        if self._replicas.get(replica.partition.topic_partition) is replica:
            replica.on_due(int(self.clock.monotonic() * 1_000))

    def ask_range(self, replica: Replica) -> None:
        task = self.loop.create_task(self._ask_range(replica))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_range(self, replica: Replica) -> None:
        core = replica.core
        leader_epoch = core.leader_epoch
        try:
            start, end = await ask_leader_range(
                self._peers, core.leader, replica.partition.topic_partition, leader_epoch
            )
        except KafkaError as error:
            if core.leader_epoch == leader_epoch:
                replica.fail(int(error.code))
            return
        logger.warning(
            "%s: our log %s is outside of broker %d's, which goes from %d to %d",
            replica.partition.topic_partition, replica.partition.log, core.leader, start, end,
        )  # fmt: skip
        if core.leader_epoch == leader_epoch and self._replicas.get(replica.partition.topic_partition) is replica:
            replica.on_range(start, end)

    # Facts ------------------------------------------------------------------------------------------

    def statistics(self) -> ReplicationStatistics:
        return ReplicationStatistics(
            sources=tuple(self._source(source) for source in sorted({source for source, _ in self._links})),
            throttled_ms_total=self._throttle.throttled_ms_total,
        )

    def _source(self, source_id: BrokerId) -> SourceStatistics:
        live, behind = self._links.get((source_id, False)), self._links.get((source_id, True))
        links = [link for link in (live, behind) if link is not None]
        return SourceStatistics(
            broker_id=source_id,
            connected=any(link.connected for link in links),
            partitions=sum(len(link.replicas) for link in links),
            catching_up=len(behind.replicas) if behind is not None else 0,
            bytes_total=sum(link.bytes_total for link in links),
            fetches_total=sum(link.fetches_total for link in links),
            failures_total=sum(link.failures_total for link in links),
        )
