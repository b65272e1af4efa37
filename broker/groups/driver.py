"""The group coordinator of one broker: pure shards on top of the partitions of ``__consumer_offsets`` it leads.

Owns: the runtime with one ``GroupShard`` per led partition, the creation of the topic on first need, the finding of a
group's coordinator, the expiry of offsets, and what telemetry sees of groups. Handlers call it with values and map its
answers to messages. Every method that serves a request raises ``KafkaError`` when the answer is "ask elsewhere, or
again": NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE.

Offsets die with their topic: at once when a topic is deleted while the shard is loaded, otherwise when it is loaded.
Deletion is never concluded from an image that does not even know ``__consumer_offsets``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from broker.clock import Clock
from broker.coordination.decision import Decision, Ticket
from broker.coordination.driver import SeatStatistics
from broker.coordination.internal_topic import InternalTopic
from broker.coordination.partition_log import PartitionLog
from broker.coordination.partitioner import partition_for
from broker.coordination.primitives import STRING_BYTES_MAX
from broker.coordination.transaction import TransactionMarker
from broker.coordination.transactional import TransactionalRuntime
from broker.errors import ErrorCode, KafkaError
from broker.groups.batches import GroupRecordCodec
from broker.groups.changes import ChangedGroups
from broker.groups.classic_group import ClassicGroup
from broker.groups.config import GroupConfig
from broker.groups.consumer.events import ConsumerHeartbeat, ConsumerHeartbeatReply, DescribedConsumerGroup
from broker.groups.consumer.group import ConsumerGroup
from broker.groups.consumer.heartbeat import check_heartbeat
from broker.groups.consumer.statistics import sample_consumer_group
from broker.groups.consumer.surroundings import Surroundings
from broker.groups.consumer.topics import Topics
from broker.groups.events import (
    CommitOffsets,
    CommitOffsetsInTransaction,
    CommitReply,
    DeleteOffsetsReply,
    DescribedGroup,
    FetchedOffset,
    Heartbeat,
    Join,
    JoinReply,
    Leave,
    LeaveReply,
    ListedGroup,
    Sync,
    SyncReply,
)
from broker.groups.records import Record
from broker.groups.shard import GroupShard
from broker.groups.statistics import sample_group
from broker.groups.transitions import Transitions
from broker.protocol.batch import COMPRESSION_NAMES
from broker.telemetry.sample import GroupSample
from broker.types import (
    NO_EPOCH,
    OFFSETS_TOPIC,
    BrokerId,
    LeaderEpoch,
    ProducerEpoch,
    ProducerId,
    TopicId,
    TopicPartition,
)

if TYPE_CHECKING:
    from broker.cluster.driver import ClusterDriver
    from broker.cluster.image import ImageDelta
    from broker.config.broker import BrokerConfig
    from broker.partition.driver import Partition
    from broker.partition.manager import PartitionManager

logger = logging.getLogger(__name__)

T = TypeVar("T")
Verify: TypeAlias = Callable[[TopicPartition], Awaitable[ErrorCode]]
"""Asks the transaction's coordinator whether the partition is part of the ongoing transaction (KIP-890)."""

_BATCH_OVERHEAD_BYTES = 4_096
"""Between the largest record of a group and the largest batch of its partition."""
_PROTOCOL_BYTES = 64
"""What a protocol that a member offers takes of memory beside its name and metadata, which may be empty."""

_VERIFICATION_ERRORS = {
    # A client that cannot know of this step between two coordinators retries these without looking for another one.
    ErrorCode.NETWORK_EXCEPTION: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    # The *other* coordinator has moved; this one is still the group's.
    ErrorCode.NOT_COORDINATOR: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.COORDINATOR_NOT_AVAILABLE,
}


class GroupCoordinator:
    def __init__(
        self,
        *,
        node_id: BrokerId,
        config: BrokerConfig,
        clock: Clock,
        cluster: ClusterDriver,
        partitions: PartitionManager,
    ) -> None:
        self._node_id = node_id
        self._clock = clock
        self._cluster = cluster
        self._partitions = partitions
        self._expiry_interval_ms = config.offsets_retention_check_interval_ms
        self.config = _group_config(config)
        self._topic = InternalTopic(OFFSETS_TOPIC, cluster)
        self._surroundings = Surroundings(cluster)
        self._changes = ChangedGroups()
        self._transitions = Transitions()
        self._expiry_task: asyncio.Task[None] | None = None
        self._runtime: TransactionalRuntime[GroupShard, Record] = TransactionalRuntime(
            name=OFFSETS_TOPIC,
            clock=clock,
            new_shard=self._new_shard,
            codec=GroupRecordCodec(COMPRESSION_NAMES[config.offsets_topic_compression_codec]),
            on_step=self._on_step,
            on_loaded=self._on_loaded,
            on_unloaded=self._on_unloaded,
            commit_timeout_ms=config.offsets_commit_timeout_ms,
            load_bytes=config.offsets_load_buffer_size,
            linger_ms=config.group_coordinator_append_linger_ms,
        )

    async def start(self) -> None:
        """Seat the partitions led already and follow what comes. After the partition manager has its image."""
        self._cluster.subscribe(self._on_delta)
        self._partitions.listen(OFFSETS_TOPIC, self)
        self._expiry_task = asyncio.get_running_loop().create_task(self._expire_forever(), name="offset expiry")

    async def stop(self) -> None:
        if self._expiry_task is not None:
            self._expiry_task.cancel()
            await asyncio.gather(self._expiry_task, return_exceptions=True)
            self._expiry_task = None
        await self._topic.stop()
        await self._runtime.close()

    # Leadership --------------------------------------------------------------------------------------

    def on_became_leader(self, partition: Partition) -> None:
        epoch = partition.leader_epoch
        self._runtime.lead(partition.topic_partition.partition, PartitionLog(partition, epoch), epoch)

    def on_resigned(self, topic_partition: TopicPartition) -> None:
        self._runtime.resign(topic_partition.partition)

    def _new_shard(self, index: int) -> GroupShard:
        shard = GroupShard(self.config)
        shard.consumer.topics = self._surroundings.topics
        shard.consumer.settings_of = self._surroundings.settings_of
        return shard

    def _on_delta(self, delta: ImageDelta) -> None:
        if self._surroundings.follow(delta):
            for _, shard in self._runtime.serving():
                # Groups notice with their next heartbeat.
                shard.consumer.topics = self._surroundings.topics
        deleted = frozenset(topic.name for topic in delta.deleted_topics)
        if deleted:
            for index in self._runtime.seats():
                self._runtime.propose(index, partial(self._bury, deleted=deleted))

    def _on_loaded(self, index: int, shard: GroupShard, now_ms: int) -> Decision[Record]:
        shard.consumer.topics = self._surroundings.topics
        shard.changed.update(shard.group_ids())
        return self._bury(shard, now_ms)

    def _bury(self, shard: GroupShard, now_ms: int, *, deleted: frozenset[str] = frozenset()) -> Decision[Record]:
        """Tombstones for the offsets of topics that are gone."""
        topics = self._cluster.image.topics_by_name
        if OFFSETS_TOPIC not in topics:
            return Decision()

        def topic_id(name: str) -> TopicId | None:
            topic = topics.get(name)
            return None if topic is None else topic.topic_id

        return Decision(records=shard.bury_offsets_of_gone_topics(topic_id, deleted))

    # Finding -----------------------------------------------------------------------------------------

    async def find(self, group_id: str) -> BrokerId:
        """The broker that coordinates ``group_id``. Creates the offsets topic if there is none yet."""
        topic = await self._topic.wait_exists()
        partition = topic.partitions[partition_for(group_id, len(topic.partitions))]
        if partition.leader not in self._cluster.image.brokers:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        return partition.leader

    def _index(self, group_id: str) -> int:
        if len(group_id.encode()) > STRING_BYTES_MAX:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        topic = self._cluster.image.topics_by_name.get(OFFSETS_TOPIC)
        if topic is None:
            # Asking for the coordinator is what creates the topic.
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        return partition_for(group_id, len(topic.partitions))

    # Members -----------------------------------------------------------------------------------------

    async def join(self, event: Join) -> JoinReply:
        _require_group_id(event.group_id)
        if not self.config.session_timeout_min_ms <= event.session_timeout_ms <= self.config.session_timeout_max_ms:
            raise KafkaError(ErrorCode.INVALID_SESSION_TIMEOUT)
        _require_storable(event, self.config)
        return await self._execute(
            event.group_id, lambda shard, ticket, now_ms: shard.join(event, ticket, now_ms), JoinReply
        )

    async def sync(self, event: Sync) -> SyncReply:
        _require_group_id(event.group_id)
        return await self._execute(
            event.group_id, lambda shard, ticket, now_ms: shard.sync(event, ticket, now_ms), SyncReply
        )

    async def heartbeat(self, event: Heartbeat) -> ErrorCode:
        _require_group_id(event.group_id)
        try:
            return await self._execute(
                event.group_id, lambda shard, ticket, now_ms: shard.heartbeat(event, ticket, now_ms), ErrorCode
            )
        except KafkaError as error:
            if error.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                # Its session starts anew once the group is loaded; nothing is wrong with this member.
                return ErrorCode.NONE
            raise

    async def leave(self, event: Leave) -> LeaveReply:
        _require_group_id(event.group_id)
        return await self._execute(
            event.group_id, lambda shard, ticket, now_ms: shard.leave(event, ticket, now_ms), LeaveReply
        )

    async def consumer_heartbeat(self, event: ConsumerHeartbeat, *, brings_own_id: bool) -> ConsumerHeartbeatReply:
        """Raises ``KafkaError`` also for what is wrong with the request itself, or with asking this broker for it."""
        self._require_consumer_protocol()
        settings = self._surroundings.settings_of(event.group_id)
        check_heartbeat(event, settings, brings_own_id=brings_own_id, record_bytes_max=self.config.record_bytes_max)
        return await self._execute(
            event.group_id,
            lambda shard, ticket, now_ms: shard.consumer_heartbeat(event, ticket, now_ms),
            ConsumerHeartbeatReply,
        )

    def _require_consumer_protocol(self) -> None:
        if not self._surroundings.serves_consumer_groups:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, "The consumer group protocol is not enabled.")

    # Offsets -----------------------------------------------------------------------------------------

    async def commit_offsets(self, event: CommitOffsets) -> CommitReply:
        return await self._execute(
            event.group_id,
            lambda shard, ticket, now_ms: shard.commit_offsets(event, ticket, now_ms),
            CommitReply,
            reversible=True,
        )

    async def commit_transactional_offsets(self, event: CommitOffsetsInTransaction, verify: Verify) -> CommitReply:
        """Offsets that come into force with the transaction. ``verify`` is asked unless the transaction is known here;
        what it answers is the reply, translated to what a client of a group coordinator understands."""
        _require_group_id(event.commit.group_id)
        index = self._index(event.commit.group_id)
        shard = self._runtime.shard(index)
        producer = event.producer
        if not shard.pending.is_open(producer):
            token = shard.verifications.begin(producer.producer_id, producer.producer_epoch)
            error = ErrorCode.INVALID_TXN_STATE
            try:
                error = await verify(TopicPartition(OFFSETS_TOPIC, index))
            finally:
                still_open = shard.verifications.end(producer.producer_id, token)
            if error is not ErrorCode.NONE:
                return CommitReply(error=_VERIFICATION_ERRORS.get(error, error))
            if self._runtime.shard(index) is not shard:
                raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
            if not still_open:
                return CommitReply(error=ErrorCode.INVALID_TXN_STATE)
        reply = await self._runtime.execute_in_transaction(
            index,
            producer,
            lambda shard, ticket, now_ms: shard.commit_offsets_in_transaction(event, ticket, now_ms),
        )
        assert isinstance(reply, CommitReply)
        return reply

    async def complete_transaction(
        self,
        partition_index: int,
        *,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        coordinator_epoch: LeaderEpoch,
        commit: bool,
        transaction_version: int = 0,
    ) -> None:
        """Write the marker into ``__consumer_offsets-<partition_index>``, in order with the groups' own records, and
        bring the producer's pending offsets into force or drop them. Returns when the marker is committed."""
        marker = TransactionMarker(
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            coordinator_epoch=coordinator_epoch,
            commit=commit,
            transaction_version=transaction_version,
        )
        await self._runtime.complete_transaction(partition_index, marker)

    async def fetch_offsets(
        self,
        group_id: str,
        wanted: Iterable[tuple[str, int]] | None,
        *,
        require_stable: bool = False,
        member_id: str | None = None,
        member_epoch: int = NO_EPOCH,
    ) -> list[FetchedOffset]:
        """Offsets of the partitions wanted, or of all that have one. An unknown group has none. Who names itself a
        member of a consumer group is refused unless it is one, in that epoch."""

        def question(shard: GroupShard) -> list[FetchedOffset] | KafkaError:
            try:
                shard.check_fetcher(group_id, member_id, member_epoch)
            except KafkaError as error:
                return error
            return shard.fetch_offsets(group_id, wanted, require_stable=require_stable)

        answer = await self._runtime.read(self._index(group_id), question)
        if isinstance(answer, KafkaError):
            raise answer
        return answer

    async def delete_offsets(self, group_id: str, wanted: Sequence[tuple[str, int]]) -> DeleteOffsetsReply:
        _require_group_id(group_id)
        return await self._execute(
            group_id,
            lambda shard, ticket, now_ms: shard.delete_offsets(group_id, wanted, ticket, now_ms),
            DeleteOffsetsReply,
        )

    # Administration ----------------------------------------------------------------------------------

    async def describe(self, group_id: str) -> DescribedGroup | None:
        return await self._runtime.read(self._index(group_id), lambda shard: shard.describe(group_id))

    async def describe_consumer(self, group_id: str) -> tuple[DescribedConsumerGroup | None, Topics]:
        """``None`` when there is no group of the consumer protocol by this name; and the topics that ids mean."""
        self._require_consumer_protocol()
        group = await self._runtime.read(self._index(group_id), lambda shard: shard.consumer.describe(group_id))
        return group, self._surroundings.topics

    async def list_groups(self) -> list[ListedGroup]:
        """The groups coordinated here. Raises COORDINATOR_LOAD_IN_PROGRESS rather than leaving some out."""
        answers = [self._runtime.read(index, lambda shard: shard.list_groups()) for index in self._runtime.seats()]
        return [group for answer in await asyncio.gather(*answers) for group in answer]

    async def delete_group(self, group_id: str) -> ErrorCode:
        return await self._execute(
            group_id, lambda shard, ticket, now_ms: shard.delete_group(group_id, ticket, now_ms), ErrorCode
        )

    async def _execute(
        self,
        group_id: str,
        operation: Callable[[GroupShard, Ticket, int], Decision[Record]],
        answer: type[T],
        *,
        reversible: bool = False,
    ) -> T:
        reply: Any = await self._runtime.execute(self._index(group_id), operation, reversible=reversible)
        assert isinstance(reply, answer)
        return reply

    # Expiry ------------------------------------------------------------------------------------------

    async def _expire_forever(self) -> None:
        while True:
            await asyncio.sleep(self._expiry_interval_ms / 1000)
            await self.expire_offsets()

    async def expire_offsets(self) -> None:
        """One round over all seats, letting others run in between."""
        for index in self._runtime.seats():
            self._runtime.propose(index, lambda shard, now_ms: Decision(records=shard.expire(now_ms)))
            await asyncio.sleep(0)

    # Telemetry ---------------------------------------------------------------------------------------

    def statistics(self) -> list[GroupSample]:
        """Every group coordinated here, without record timestamps."""
        return [
            self._sample(group, shard)
            for _, shard in self._runtime.serving()
            for group_id in shard.group_ids()
            if (group := shard.find(group_id)) is not None
        ]

    def seats(self) -> list[SeatStatistics]:
        """How each coordinator partition led here is doing."""
        return self._runtime.statistics()

    def take_changes(self) -> tuple[list[GroupSample], list[str]]:
        """Groups that changed since the last call, and the ids of those that are gone."""
        shards = dict(self._runtime.serving())
        changed, gone = [], []
        for group_id in self._changes.take():
            group, shard = self._find_group(shards, group_id)
            self._changes.told(group_id, exists=group is not None)
            if group is None or shard is None:
                gone.append(group_id)
            else:
                changed.append(self._sample(group, shard))
        return changed, gone

    def _sample(self, group: ClassicGroup | ConsumerGroup, shard: GroupShard) -> GroupSample:
        if isinstance(group, ClassicGroup):
            return sample_group(group, shard.offsets, self._node_id)
        assignor = self._surroundings.settings_of(group.group_id).assignors[0]
        return sample_consumer_group(group, shard.offsets, self._node_id, self._surroundings.topics, assignor)

    def _find_group(self, shards: dict[int, GroupShard], group_id: str) -> tuple[Any, GroupShard | None]:
        try:
            shard = shards.get(self._index(group_id))
        except KafkaError:
            return None, None
        return (None, None) if shard is None else (shard.find(group_id), shard)

    def _on_step(self, index: int, shard: GroupShard) -> None:
        for group_id in shard.changed:
            group = shard.find(group_id)
            self._changes.touch(group_id, exists=group is not None)
            self._transitions.note(group_id, group)
        shard.changed.clear()

    def _on_unloaded(self, index: int, shard: GroupShard) -> None:
        for group_id in shard.group_ids():
            self._changes.touch(group_id, exists=False)
            self._transitions.forget(group_id)


def _require_group_id(group_id: str) -> None:
    if not group_id:
        raise KafkaError(ErrorCode.INVALID_GROUP_ID)


def _require_storable(event: Join, config: GroupConfig) -> None:
    """Refuse what could never be written into the group's record, before memory is spent on keeping it."""
    strings = (event.instance_id or "", event.client_id, event.protocol_type, *(name for name, _ in event.protocols))
    sizes = [len(text.encode()) for text in strings]
    size = sum(sizes) + sum(len(metadata) + _PROTOCOL_BYTES for _, metadata in event.protocols)
    if max(sizes) > STRING_BYTES_MAX or size > config.record_bytes_max:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "This member does not fit into a record of its group.")


def _group_config(config: BrokerConfig) -> GroupConfig:
    return GroupConfig(
        session_timeout_min_ms=config.group_min_session_timeout_ms,
        session_timeout_max_ms=config.group_max_session_timeout_ms,
        initial_rebalance_delay_ms=config.group_initial_rebalance_delay_ms,
        size_max=config.group_max_size,
        offset_metadata_length_max=config.offset_metadata_max_bytes,
        offsets_retention_ms=config.offsets_retention_minutes * 60_000,
        record_bytes_max=max(config.message_max_bytes - _BATCH_OVERHEAD_BYTES, config.message_max_bytes // 2),
    )
