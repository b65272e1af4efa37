"""The transaction coordinator of one broker: pure shards on top of the partitions of ``__transaction_state`` it leads.

Owns: the runtime with one ``TransactionShard`` per led partition, the creation of the topic on first need, the finding of a
transactional id's coordinator, the clockwork (overdue transactions, expired ids), and the sending of markers
(``markers.py``). Every method that serves a request raises ``KafkaError``.

The way of a transaction's end, and why a crash anywhere loses nothing:
1. the shard decides; PrepareCommit or PrepareAbort is appended, and committed before anybody hears of it;
2. the producer is answered, and markers go to the partitions' leaders until all are written;
3. CompleteCommit or CompleteAbort is appended; whoever waited for the id goes on.
Whoever loads the partition next finds the decision and begins with 2 again: partitions take the same marker twice.

Producer ids are the cluster's to give. A shard that needs one says so (``Missing.PRODUCER_ID``) and is asked again with one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from broker import limits
from broker.clock import Clock
from broker.coordination.decision import Decision, Ticket
from broker.coordination.driver import CoordinatorRuntime, SeatStatistics
from broker.coordination.internal_topic import InternalTopic
from broker.coordination.partition_log import PartitionLog
from broker.coordination.partitioner import partition_for
from broker.coordination.primitives import STRING_BYTES_MAX
from broker.errors import ErrorCode, KafkaError
from broker.transactions.batches import TransactionRecordCodec
from broker.transactions.events import (
    AbortOverdue,
    AddPartitions,
    CompleteTransaction,
    DescribedTransaction,
    EndTransaction,
    IdentityReply,
    InitProducerId,
    ListedTransaction,
    Missing,
    PartitionsReply,
    PreparedTransaction,
    TransactionFilter,
    VerifyPartitions,
)
from broker.transactions.markers import MarkerSender
from broker.transactions.records import TransactionRecord
from broker.transactions.shard import ShardConfig, TransactionShard
from broker.types import NO_TIMESTAMP, TRANSACTIONS_TOPIC, BrokerId, LeaderEpoch, TopicPartition

if TYPE_CHECKING:
    from broker.cluster.driver import ClusterDriver
    from broker.cluster.image import ImageDelta
    from broker.config.broker import BrokerConfig
    from broker.partition.driver import Partition
    from broker.partition.manager import PartitionManager
    from broker.transactions.fan_out import FanOutStatistics
    from broker.transactions.ports import PeerRequests

logger = logging.getLogger(__name__)

E = TypeVar("E", InitProducerId, EndTransaction, AbortOverdue)

_BATCH_OVERHEAD_BYTES = 4_096
"""Between the largest record of an id and the largest batch of its partition."""
EXPIRED_PER_TURN_MAX = 1_000
OVERDUE_PER_TURN_MAX = 200
PRODUCER_ID_ATTEMPTS_MAX = 3
"""Times an event may ask for a fresh producer id: its state changed each time while one was being fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionStatistics:
    ids: int
    open: int
    oldest_start_ms: int
    """Of the open ones; -1 when there is none."""
    markers: FanOutStatistics


class TransactionCoordinator:
    def __init__(
        self,
        *,
        node_id: BrokerId,
        config: BrokerConfig,
        clock: Clock,
        cluster: ClusterDriver,
        partitions: PartitionManager,
        peers: PeerRequests,
    ) -> None:
        self._node_id = node_id
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._partitions = partitions
        self._topic = InternalTopic(TRANSACTIONS_TOPIC, cluster)
        self._epochs: dict[int, LeaderEpoch] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._markers = MarkerSender(peers=peers, cluster=cluster, on_finished=self._on_markers_written)
        shard_config = ShardConfig(
            complete_wait_ms=limits.TRANSACTION_COMPLETE_WAIT_MS,
            id_expiration_ms=config.transactional_id_expiration_ms,
            record_bytes_max=max(config.message_max_bytes - _BATCH_OVERHEAD_BYTES, config.message_max_bytes // 2),
        )
        self._runtime: CoordinatorRuntime[TransactionShard, TransactionRecord] = CoordinatorRuntime(
            name=TRANSACTIONS_TOPIC,
            clock=clock,
            new_shard=lambda index: TransactionShard(shard_config),
            codec=TransactionRecordCodec(),
            on_step=self._on_step,
            on_unloaded=self._on_unloaded,
            load_bytes=config.transaction_state_log_load_buffer_size,
        )

    async def start(self) -> None:
        """Seat the partitions led already and follow what comes. After the partition manager has its image."""
        self._cluster.subscribe(self._on_delta)
        self._partitions.listen(TRANSACTIONS_TOPIC, self)
        config = self._config
        overdue_ms = config.transaction_abort_timed_out_transaction_cleanup_interval_ms
        expiry_ms = config.transaction_remove_expired_transaction_cleanup_interval_ms
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(_every(overdue_ms, self.abort_overdue), name="overdue transactions"),
            loop.create_task(_every(expiry_ms, self.expire_ids), name="transactional id expiry"),
        ]

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._markers.stop()
        await self._topic.stop()
        await self._runtime.close()

    # Leadership --------------------------------------------------------------------------------------

    def on_became_leader(self, partition: Partition) -> None:
        epoch, index = partition.leader_epoch, partition.topic_partition.partition
        self._epochs[index] = epoch
        self._runtime.lead(index, PartitionLog(partition, epoch), epoch)

    def on_resigned(self, topic_partition: TopicPartition) -> None:
        self._runtime.resign(topic_partition.partition)

    def _on_delta(self, delta: ImageDelta) -> None:
        self._markers.on_image_changed()

    def _on_unloaded(self, index: int, shard: TransactionShard) -> None:
        self._markers.drop_coordinator(index)

    # Finding -----------------------------------------------------------------------------------------

    async def find(self, transactional_id: str) -> BrokerId:
        """The broker that coordinates ``transactional_id``. Creates the topic if there is none yet."""
        _require_storable(transactional_id)
        await self._topic.wait_exists()
        return self.known_coordinator(transactional_id)

    def known_coordinator(self, transactional_id: str) -> BrokerId:
        """The same without creating anything. Raises COORDINATOR_NOT_AVAILABLE."""
        topic = self._topic.image()
        if topic is None:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        leader = topic.partitions[partition_for(transactional_id, len(topic.partitions))].leader
        if leader not in self._cluster.image.brokers:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        return leader

    def _index(self, transactional_id: str) -> int:
        _require_storable(transactional_id)
        topic = self._topic.image()
        if topic is None:
            # Asking for the coordinator is what creates the topic.
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        return partition_for(transactional_id, len(topic.partitions))

    # Producers ---------------------------------------------------------------------------------------

    async def init_producer_id(self, event: InitProducerId) -> IdentityReply:
        _require_storable(event.transactional_id)
        if not 0 < event.timeout_ms <= self._config.transaction_max_timeout_ms:
            raise KafkaError(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
        return await self._with_producer_id(event, TransactionShard.init_producer_id)

    async def add_partitions(self, event: AddPartitions) -> PartitionsReply:
        reply = await self._execute(
            event.transactional_id, lambda shard, ticket, now_ms: shard.add_partitions(event, ticket, now_ms)
        )
        assert isinstance(reply, PartitionsReply)
        return reply

    async def verify_partitions(self, event: VerifyPartitions) -> PartitionsReply:
        index = self._index(event.transactional_id)
        reply: PartitionsReply = await self._runtime.read(index, lambda shard: shard.verify_partitions(event))
        return reply

    async def end(self, event: EndTransaction) -> IdentityReply:
        return await self._with_producer_id(event, TransactionShard.end)

    async def _with_producer_id(
        self, event: E, handler: Callable[[TransactionShard, E, Ticket, int], Decision[TransactionRecord]]
    ) -> IdentityReply:
        for _ in range(PRODUCER_ID_ATTEMPTS_MAX):
            reply = await self._execute(event.transactional_id, partial(_handle, handler, event))
            if reply is not Missing.PRODUCER_ID:
                assert isinstance(reply, IdentityReply)
                return reply
            event = replace(event, fresh_producer_id=await self._cluster.allocate_producer_id())
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)

    async def _execute(
        self,
        transactional_id: str,
        operation: Callable[[TransactionShard, Ticket, int], Decision[TransactionRecord]],
    ) -> Any:
        reply = await self._runtime.execute(self._index(transactional_id), operation, reversible=True)
        if isinstance(reply, KafkaError):
            raise reply
        return reply

    # Markers -----------------------------------------------------------------------------------------

    def _on_step(self, index: int, shard: TransactionShard) -> None:
        """Decisions that came to be are read behind their own append: the answer means that they are committed."""
        if shard.prepared:
            prepared, shard.prepared = shard.prepared, set()
            question = partial(_still_prepared, prepared, index, self._epochs[index])
            self._runtime.read(index, question).add_done_callback(self._on_decisions_committed)
        if shard.completed:
            self._runtime.propose(index, partial(_wake, next(iter(shard.completed))))

    def _on_decisions_committed(self, future: asyncio.Future[list[PreparedTransaction]]) -> None:
        if future.cancelled() or future.exception() is not None:
            return  # the seat is gone or loads anew; whoever loads it finds the decisions in its log
        for transaction in future.result():
            self._markers.send(transaction)

    def _on_markers_written(self, transaction: PreparedTransaction) -> None:
        event = CompleteTransaction(
            transactional_id=transaction.transactional_id,
            producer_id=transaction.producer_id,
            producer_epoch=transaction.producer_epoch,
        )
        self._runtime.propose(transaction.coordinator, lambda shard, now_ms: shard.complete(event, now_ms))

    # Administration ----------------------------------------------------------------------------------

    async def describe(self, transactional_id: str) -> DescribedTransaction | None:
        index = self._index(transactional_id)
        found: DescribedTransaction | None = await self._runtime.read(
            index, lambda shard: shard.describe(transactional_id)
        )
        return found

    async def list_transactions(self, wanted: TransactionFilter) -> list[ListedTransaction]:
        """The ids coordinated here. Raises COORDINATOR_LOAD_IN_PROGRESS rather than leaving some out."""
        now_ms = self._clock.wall_ms()
        answers = [
            self._runtime.read(index, lambda shard: shard.list_transactions(wanted, now_ms))
            for index in self._runtime.seats()
        ]
        return [transaction for answer in await asyncio.gather(*answers) for transaction in answer]

    # Clockwork ---------------------------------------------------------------------------------------

    async def abort_overdue(self) -> None:
        """One round over all seats: transactions that took longer than their producer said end here."""
        now_ms = self._clock.wall_ms()
        events = [event for _, shard in self._runtime.serving() for event in shard.overdue(now_ms)]
        for first in range(0, len(events), OVERDUE_PER_TURN_MAX):
            await asyncio.gather(*map(self._abort_overdue, events[first : first + OVERDUE_PER_TURN_MAX]))

    async def _abort_overdue(self, event: AbortOverdue) -> None:
        try:
            reply = await self._with_producer_id(event, TransactionShard.abort_overdue)
        except KafkaError as error:
            logger.warning("transaction %r is overdue, not aborted: %s", event.transactional_id, error.message)
            return
        if reply.error is ErrorCode.NONE:
            logger.info("transaction %r took too long and is aborted", event.transactional_id)

    async def expire_ids(self) -> None:
        """One round over all seats, a bounded number of tombstones at a time, each lot committed before the next."""
        for index in self._runtime.seats():
            try:
                while await self._runtime.execute(index, _expire):
                    pass
            except KafkaError as error:
                logger.info("transactional ids of partition %d expire later: %s", index, error.message)

    # Telemetry ---------------------------------------------------------------------------------------

    def seats(self) -> list[SeatStatistics]:
        return self._runtime.statistics()

    def statistics(self) -> TransactionStatistics:
        shards = [shard for _, shard in self._runtime.serving()]
        starts = [transaction.start_ms for shard in shards for transaction in shard.open.values()]
        return TransactionStatistics(
            ids=sum(len(shard.transactions) for shard in shards),
            open=len(starts),
            oldest_start_ms=min(starts, default=NO_TIMESTAMP),
            markers=self._markers.statistics(),
        )


def _require_storable(transactional_id: str) -> None:
    if not transactional_id or len(transactional_id.encode(errors="surrogatepass")) > STRING_BYTES_MAX:
        raise KafkaError(ErrorCode.INVALID_REQUEST)


def _still_prepared(
    transactional_ids: set[str], index: int, coordinator_epoch: LeaderEpoch, shard: TransactionShard
) -> list[PreparedTransaction]:
    found = []
    for transactional_id in sorted(transactional_ids):
        transaction = shard.transactions.get(transactional_id)
        if transaction is not None and transaction.state.is_prepared:
            found.append(
                PreparedTransaction(
                    coordinator=index,
                    coordinator_epoch=coordinator_epoch,
                    transactional_id=transactional_id,
                    producer_id=transaction.producer_id,
                    producer_epoch=transaction.producer_epoch,
                    commit=transaction.commits,
                    partitions=transaction.partitions,
                    client_version=transaction.client_version,
                )
            )
    return found


def _handle(
    handler: Callable[[TransactionShard, E, Ticket, int], Decision[TransactionRecord]],
    event: E,
    shard: TransactionShard,
    ticket: Ticket,
    now_ms: int,
) -> Decision[TransactionRecord]:
    return handler(shard, event, ticket, now_ms)


def _expire(shard: TransactionShard, ticket: Ticket, now_ms: int) -> Decision[TransactionRecord]:
    """Replies how many tombstones it writes."""
    decision = shard.expire(now_ms, EXPIRED_PER_TURN_MAX)
    decision.reply(ticket, len(decision.records))
    return decision


def _wake(transactional_id: str, shard: TransactionShard, now_ms: int) -> Decision[TransactionRecord]:
    return shard.wake(transactional_id, now_ms)


async def _every(interval_ms: int, work: Callable[[], Any]) -> None:
    while True:
        await asyncio.sleep(interval_ms / 1000)
        try:
            await work()
        except Exception:
            logger.exception("transactions: periodic work failed")
