"""Once a second: what changed on this broker, numbered, for everybody who listens.

Owns: the sequence of samples of one incarnation and the long poll that serves them. The tables beside this module
find out what changed, so a tick costs what changed and not what exists. When nobody has polled for
``LISTENER_GONE_SECONDS`` ticking stops; the next poll wakes it and gets a full sample.

A change of who leads or decides does not wait for the second: ``hurry`` has the next sample taken at once, though not more often
than every ``HURRY_SECONDS``, so that a page shows a new leader well within two seconds of its election.

Samples are shared values: every listener is handed the same ones. Called on the broker's event loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from broker import limits
from broker.errors import KafkaError
from broker.protocol.private import TelemetryRequest
from broker.telemetry.control_table import ControlTable
from broker.telemetry.facts import NetworkFacts, cpu_seconds, rss_bytes
from broker.telemetry.group_table import GroupTable
from broker.telemetry.partition_table import PartitionTable
from broker.telemetry.sample import BrokerSample, GroupSample, Sample, SourceSample, TelemetryResponse
from broker.telemetry.topic_table import TopicTable
from broker.types import NO_TIMESTAMP, TopicPartition

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.cluster.driver import ClusterStatistics
    from broker.cluster.image import ClusterImage
    from broker.config.broker import BrokerConfig
    from broker.partition.driver import Partition
    from broker.partition.manager import ManagerStatistics
    from broker.replication.driver import ReplicationStatistics
    from broker.transactions.driver import TransactionStatistics

logger = logging.getLogger(__name__)

LISTENER_GONE_SECONDS = 10.0
POLL_WAIT_MS_MAX = 30_000
HURRY_SECONDS = 0.2
"""Between two samples however much changes: a takeover of many partitions is a handful of commits."""

assert POLL_WAIT_MS_MAX >= limits.SAMPLE_INTERVAL_MS


class ClusterSource(Protocol):
    @property
    def image(self) -> ClusterImage: ...

    @property
    def config(self) -> BrokerConfig: ...

    def statistics(self) -> ClusterStatistics: ...


class PartitionSource(Protocol):
    def partitions(self) -> Iterable[Partition]:
        """The partitions this broker holds."""

    def offline(self) -> Mapping[TopicPartition, str]:
        """Partitions it should hold but cannot, with the reason."""

    def statistics(self) -> ManagerStatistics: ...


class GroupSource(Protocol):
    def take_changes(self) -> tuple[list[GroupSample], list[str]]:
        """Groups that changed since the last call (without record timestamps) and the ids of those gone."""


class TransactionSource(Protocol):
    def statistics(self) -> TransactionStatistics: ...


class FollowingSource(Protocol):
    def statistics(self) -> ReplicationStatistics: ...


class Sampler:
    def __init__(
        self,
        *,
        node_id: int,
        incarnation: str,
        clock: Clock,
        cluster: ClusterSource,
        partitions: PartitionSource,
        groups: GroupSource,
        transactions: TransactionSource,
        replication: FollowingSource,
        network: Callable[[], NetworkFacts],
        log_dir: str,
        ack_durability: str,
        store: str,
        interval_ms: int = limits.SAMPLE_INTERVAL_MS,
        listener_gone_seconds: float = LISTENER_GONE_SECONDS,
    ) -> None:
        self.incarnation = incarnation
        self._node_id = node_id
        self._clock = clock
        self._cluster = cluster
        self._partitions = partitions
        self._groups = groups
        self._transactions = transactions
        self._replication = replication
        self._network = network
        self._log_dir = log_dir
        self._ack_durability = ack_durability
        self._store = store
        self._interval_ms = interval_ms
        self._listener_gone_seconds = listener_gone_seconds
        self._started_at_ms = clock.wall_ms()
        self._seq = 0
        self._latest: Sample | None = None
        self._history: deque[Sample] = deque(maxlen=limits.SAMPLE_HISTORY_MAX)
        self._here: dict[TopicPartition, Partition] = {}
        self._topic_table = TopicTable()
        self._partition_table = PartitionTable(node_id, self._wall_ms_of)
        self._control_table = ControlTable()
        self._group_table = GroupTable(_LogTimes(self._here))
        self._last_poll = float("-inf")
        self._ticked: asyncio.Event = asyncio.Event()
        self._listened: asyncio.Event = asyncio.Event()
        self._hurried: asyncio.Event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="telemetry sampler")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._wake_pollers()

    def hurry(self) -> None:
        """Something changed that people wait for: do not wait for the second."""
        self._hurried.set()

    @property
    def asleep(self) -> bool:
        """True while nobody listens: no sample is being made."""
        return not self._listened.is_set()

    # Long poll -------------------------------------------------------------------------------------

    async def poll(self, request: TelemetryRequest) -> TelemetryResponse:
        """Samples after ``seq``: the deltas when all of them are still here, else one full sample."""
        self._last_poll = self._clock.monotonic()
        if self.asleep:
            self._listened.set()
            self.tick()
            return TelemetryResponse(samples=[self.snapshot()])
        if not self._continues(request):
            return TelemetryResponse(samples=[self.snapshot()])
        if request.seq == self._seq:
            await self._wait_tick(min(max(request.max_wait_ms, 0), POLL_WAIT_MS_MAX))
            if not self._continues(request):
                return TelemetryResponse(samples=[self.snapshot()])
        self._last_poll = self._clock.monotonic()
        return TelemetryResponse(samples=[sample for sample in self._history if sample.seq > request.seq])

    def snapshot(self) -> Sample:
        """Everything, as of the latest tick."""
        if self._latest is None:
            self.tick()
        latest = self._latest
        assert latest is not None
        return Sample(
            broker_id=self._node_id,
            incarnation=self.incarnation,
            seq=latest.seq,
            sampled_at_ms=latest.sampled_at_ms,
            full=True,
            broker=latest.broker,
            cluster_id=latest.cluster_id,
            controller_id=latest.controller_id,
            revision=latest.revision,
            control=self._control_table.sample,
            topics=self._topic_table.samples(),
            partitions=self._partition_table.samples(),
            groups=self._group_table.samples(),
        )

    def _continues(self, request: TelemetryRequest) -> bool:
        if request.incarnation != self.incarnation:
            return False
        oldest_base = self._history[0].seq - 1 if self._history else self._seq
        return oldest_base <= request.seq <= self._seq

    async def _wait_tick(self, wait_ms: int) -> None:
        ticked = self._ticked
        try:
            async with asyncio.timeout(wait_ms / 1000):
                await ticked.wait()
        except TimeoutError:
            return

    def _wake_pollers(self) -> None:
        ticked, self._ticked = self._ticked, asyncio.Event()
        ticked.set()

    # Ticks -----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._listened.wait()
            await self._pause(self._interval_ms / 1000)
            if self._clock.monotonic() - self._last_poll > self._listener_gone_seconds:
                # What was sampled stays as the base of later deltas; nobody can ask for the old ones any more.
                self._listened.clear()
                self._history.clear()
                continue
            try:
                self.tick()
            except Exception:
                # Telemetry must never end the broker; listeners see the age of the last sample grow.
                logger.exception("sampling failed")

    async def _pause(self, seconds: float) -> None:
        at_least = min(HURRY_SECONDS, seconds)
        await asyncio.sleep(at_least)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds - at_least):
                await self._hurried.wait()
        self._hurried.clear()

    def tick(self) -> Sample:
        """Take the next sample: the changes since the one before."""
        image = self._cluster.image
        here = list(self._partitions.partitions())
        self._here.clear()
        self._here.update((partition.topic_partition, partition) for partition in here)
        topics = self._topic_table.update(image, min_insync_replicas=self._cluster.config.min_insync_replicas)
        partitions = self._partition_table.update(here, self._partitions.offline(), image)
        moved = [TopicPartition(entry.topic, entry.partition) for entry in partitions.changed]
        groups = self._group_table.update(*self._groups.take_changes(), [*moved, *partitions.removed])
        self._seq += 1
        sample = Sample(
            broker_id=self._node_id,
            incarnation=self.incarnation,
            seq=self._seq,
            sampled_at_ms=self._clock.wall_ms(),
            full=False,
            broker=self._broker_sample(image),
            cluster_id=image.cluster_id,
            controller_id=image.controller_id,
            revision=image.revision,
            control=self._control_table.update(image),
            topics=topics.changed,
            partitions=partitions.changed,
            groups=groups.changed,
            removed_topics=topics.removed,
            removed_partitions=list(partitions.removed),
            removed_groups=groups.removed,
        )
        self._latest = sample
        self._history.append(sample)
        self._wake_pollers()
        return sample

    def _wall_ms_of(self, monotonic_ms: int) -> int:
        return self._clock.wall_ms() - int(self._clock.monotonic() * 1_000) + monotonic_ms

    def _broker_sample(self, image: ClusterImage) -> BrokerSample:
        network, storage = self._network(), self._partitions.statistics()
        registered = image.brokers.get(self._node_id)
        totals = self._partition_table
        transactions, cluster = self._transactions.statistics(), self._cluster.statistics()
        following = self._replication.statistics()
        return BrokerSample(
            id=self._node_id,
            host=registered.host if registered else "",
            port=registered.port if registered else -1,
            rack=(registered.rack or "") if registered else "",
            is_controller=image.controller_id == self._node_id,
            started_at_ms=self._started_at_ms,
            cpu_seconds=cpu_seconds(),
            rss_bytes=rss_bytes(),
            connections=network.connections,
            connections_refused_total=network.connections_refused_total,
            connections_stalled_total=network.connections_stalled_total,
            violations_total=network.violations_total,
            unsent_bytes=network.unsent_bytes,
            throttled_total=network.throttled_total,
            throttled_ms_total=network.throttled_ms_total,
            client_instances=network.client_instances,
            requests_total=network.requests_total,
            bytes_in_total=totals.bytes_in_total,
            bytes_out_total=totals.bytes_out_total,
            replica_bytes_out_total=totals.replica_bytes_out_total,
            under_replicated=totals.under_replicated,
            under_min_isr=totals.under_min_isr,
            isr_changes_total=totals.isr_changes_total,
            sources=[
                SourceSample(
                    broker_id=source.broker_id,
                    connected=source.connected,
                    partitions=source.partitions,
                    catching_up=source.catching_up,
                    bytes_total=source.bytes_total,
                    fetches_total=source.fetches_total,
                    failures_total=source.failures_total,
                )
                for source in following.sources
            ],
            replica_throttled_ms_total=following.throttled_ms_total,
            records_in_total=totals.records_in_total,
            fsync_rounds_total=storage.fsync_rounds_total,
            ack_durability=self._ack_durability,
            disk_free_bytes=storage.disk_free_bytes,
            disk_total_bytes=storage.disk_total_bytes,
            log_dir=self._log_dir,
            produce_refused_reason=storage.produce_refused_reason,
            offline_log_dir_reason=storage.offline_log_dir_reason,
            transactional_ids=transactions.ids,
            transactions_open=transactions.open,
            oldest_transaction_ms=transactions.oldest_start_ms,
            store=self._store,
            store_trouble=cluster.store_trouble,
            store_trouble_since_ms=cluster.store_trouble_since_ms,
            session_timeout_ms=self._cluster.config.broker_session_timeout_ms,
        )


class _LogTimes:
    """Record timestamps from the logs of the partitions that are here in this tick."""

    def __init__(self, here: Mapping[TopicPartition, Partition]) -> None:
        self._here = here

    def log_start(self, topic_partition: TopicPartition) -> int | None:
        partition = self._here.get(topic_partition)
        return None if partition is None else partition.log.log_start_offset

    def timestamp_at(self, topic_partition: TopicPartition, offset: int) -> int:
        partition = self._here[topic_partition]
        if offset >= partition.high_watermark:
            return NO_TIMESTAMP
        try:
            return partition.log.timestamp_at(offset)
        except KafkaError as error:
            logger.warning("no timestamp of %s at %d: %s", topic_partition, offset, error)
            return NO_TIMESTAMP
