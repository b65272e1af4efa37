"""A group coordinator on a cluster and partitions that exist only in memory, with the real record codec."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from broker.clock import ManualClock
from broker.cluster.image import BrokerImage, ClusterImage, ImageDelta, PartitionImage, TopicImage
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.groups.driver import GroupCoordinator
from broker.handlers.context import ConnectionInfo, Request, Services
from broker.protocol import batch, codec
from broker.protocol.markers import build_marker
from broker.types import OFFSETS_TOPIC, TopicPartition, new_topic_id
from tests.support.wait import eventually

NODE_ID = 1


class MemoryPartition:
    """What a coordinator uses of a partition; every append commits at once unless ``commits`` is off."""

    def __init__(self, index: int) -> None:
        self.topic_partition = TopicPartition(OFFSETS_TOPIC, index)
        self.leader_epoch = 0
        self.batches: list[bytes] = []
        self.commits = True
        self.refusal: ErrorCode | None = None
        self.producer_epochs: dict[int, int] = {}
        self.log = SimpleNamespace(
            log_start_offset=0, log_end_offset=0, config=SimpleNamespace(max_message_bytes=1_048_588), read=self._read
        )
        self._waiting: list[asyncio.Future[None]] = []

    def append_refusal(self, acks: int) -> ErrorCode | None:
        return self.refusal

    def append(self, records: memoryview, *, acks: int, now_ms: int, leader_epoch: int, origin: str) -> Any:
        assert (acks, origin) == (-1, "coordinator")
        if self.refusal is not None:
            raise KafkaError(self.refusal)
        if leader_epoch != self.leader_epoch:
            raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
        header = batch.read_header(records)
        if header.producer_epoch < self.producer_epochs.get(header.producer_id, -1):
            raise KafkaError(ErrorCode.INVALID_PRODUCER_EPOCH)
        if header.has_producer_id:
            self.producer_epochs[header.producer_id] = header.producer_epoch
        batch.stamp(records, 0, self.log.log_end_offset, leader_epoch)
        self.batches.append(bytes(records))
        self.log.log_end_offset += batch.read_header(records).record_count
        return SimpleNamespace(last_offset=self.log.log_end_offset - 1)

    def append_transaction_marker(
        self, *, now_ms: int, leader_epoch: int, transaction_version: int, **marker: Any
    ) -> Any:
        batch_ = memoryview(build_marker(timestamp_ms=now_ms, **marker))
        return self.append(batch_, acks=-1, now_ms=now_ms, leader_epoch=leader_epoch, origin="coordinator")

    def wait_committed(self, offset: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.commits:
            future.set_result(None)
        else:
            self._waiting.append(future)
        return future

    def commit(self) -> None:
        self.commits = True
        for future in self._waiting:
            future.set_result(None)

    def _read(self, offset: int, max_bytes: int, *, upto_offset: int, empty_alone: bool = False) -> list[bytes]:
        return [one for one in self.batches if batch.read_header(one).next_offset > offset]


class MemoryCluster:
    def __init__(self, partition_count: int = 4) -> None:
        self.image = ClusterImage(
            revision=1,
            brokers={
                NODE_ID: BrokerImage(
                    id=NODE_ID,
                    host="broker.example",
                    port=9092,
                    internal_host="127.0.0.1",
                    internal_port=19092,
                    rack=None,
                    incarnation="a",
                )
            },
        )
        self.config = BrokerConfig()
        self.creations = 0
        self.creation_error: KafkaError | None = None
        self._partition_count = partition_count
        self._subscribers: list[Callable[[ImageDelta], None]] = []

    def subscribe(self, subscriber: Callable[[ImageDelta], None]) -> None:
        self._subscribers.append(subscriber)

    async def create_topic_automatically(self, name: str) -> TopicImage:
        self.creations += 1
        await asyncio.sleep(0)
        if self.creation_error is not None:
            raise self.creation_error
        self.create(name, self._partition_count)
        return self.image.topics_by_name[name]

    def create(self, name: str, partition_count: int = 1, leader: int = NODE_ID) -> bytes:
        partition = PartitionImage(leader=leader, leader_epoch=0, isr=(1,), replicas=(1,), partition_epoch=0)
        topic = TopicImage(name=name, topic_id=new_topic_id(), partitions=(partition,) * partition_count, configs={})
        self._move_to({**self.image.topics_by_name, name: topic})
        return topic.topic_id

    def delete(self, name: str) -> None:
        self._move_to({key: topic for key, topic in self.image.topics_by_name.items() if key != name})

    def _move_to(self, topics: dict[str, TopicImage]) -> None:
        old = self.image
        self.image = replace(
            old,
            revision=old.revision + 1,
            topics_by_name=topics,
            topics_by_id={topic.topic_id: topic for topic in topics.values()},
        )
        for subscriber in self._subscribers:
            subscriber(ImageDelta(old=old, new=self.image))


class MemoryPartitions:
    """Follows the cluster as the partition manager does: it is told of a topic before the coordinator is."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.partitions: dict[int, MemoryPartition] = {}
        self._listener: Any = None
        cluster.subscribe(self._apply)

    def listen(self, topic: str, listener: Any) -> None:
        assert topic == OFFSETS_TOPIC
        self._listener = listener
        for partition in self.partitions.values():
            listener.on_became_leader(partition)

    def _apply(self, delta: ImageDelta) -> None:
        for topic in delta.created_topics:
            if topic.name == OFFSETS_TOPIC:
                for index in range(len(topic.partitions)):
                    self.partitions[index] = MemoryPartition(index)
                    if self._listener is not None:
                        self._listener.on_became_leader(self.partitions[index])


class OpenGate:
    """A transaction coordinator that gives everybody ``answer``."""

    def __init__(self) -> None:
        self.answer = ErrorCode.NONE
        self.asked: list[tuple[str, int, int, list[TopicPartition], bool]] = []

    async def verify(
        self, transactional_id: str, producer_id: int, epoch: int, partitions: list[TopicPartition], *, add: bool
    ) -> dict[TopicPartition, ErrorCode]:
        self.asked.append((transactional_id, producer_id, epoch, partitions, add))
        return dict.fromkeys(partitions, self.answer)


class World:
    """A coordinator and what surrounds it; ``call`` speaks to it through a handler, as bytes, in any version."""

    def __init__(self, *, partition_count: int = 4, **config: Any) -> None:
        self.clock = ManualClock()
        self.cluster = MemoryCluster(partition_count)
        self.partitions = MemoryPartitions(self.cluster)
        self.config = BrokerConfig(group_initial_rebalance_delay_ms=0, **config)
        self.gate = OpenGate()
        self.cluster.config = self.config
        self.groups = self.new_coordinator()

    def new_coordinator(self) -> GroupCoordinator:
        return GroupCoordinator(
            node_id=NODE_ID,
            config=self.config,
            clock=self.clock,
            cluster=self.cluster,  # type: ignore[arg-type]
            partitions=self.partitions,  # type: ignore[arg-type]
        )

    async def __aenter__(self) -> World:
        await self.groups.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.groups.stop()

    async def restart(self) -> None:
        """Another broker process over the same logs; returns when everything is loaded."""
        await self.groups.stop()
        for partition in self.partitions.partitions.values():
            partition.leader_epoch += 1
        self.groups = self.new_coordinator()
        await self.groups.start()
        await eventually(lambda: not any(seat.loading for seat in self.groups.seats()))

    @property
    def offsets_partition(self) -> MemoryPartition:
        """The only one there is in a world with ``partition_count=1``."""
        (partition,) = self.partitions.partitions.values()
        return partition

    async def call(self, handler: Any, version: int, message: Any, *, listener: str = "client") -> Any:
        body = codec.encode_request(int(handler.API), version, message)
        connection = ConnectionInfo(connection_id=1, peer_host="10.0.0.1", peer_port=5, listener=listener)
        request = Request(int(handler.API), version, 1, "app", memoryview(body), connection)
        decoded = codec.decode_request(int(handler.API), version, memoryview(body))
        answer = handler.handle(request, decoded, self._services())
        response = await answer if hasattr(answer, "__await__") else answer
        return codec.decode_response(
            int(handler.API), version, codec.encode_response(int(handler.API), version, response)
        )

    def _services(self) -> Services:
        return Services(
            node_id=NODE_ID,
            cluster_id="cluster",
            incarnation="a",
            config=self.config,
            clock=self.clock,
            cluster=self.cluster,  # type: ignore[arg-type]
            partitions=self.partitions,  # type: ignore[arg-type]
            groups=self.groups,
            transactions=None,  # type: ignore[arg-type]
            gate=self.gate,  # type: ignore[arg-type]
            sampler=None,  # type: ignore[arg-type]
            fetch_sessions=None,  # type: ignore[arg-type]
            recompressor=None,  # type: ignore[arg-type]
            cluster_secret=b"",
        )
