"""Several brokers with their transaction coordinators, on logs, a cluster and a network that exist only in memory.

Requests between brokers pass through the real codec. Partitions of data are lists of the markers written into them. A log
keeps what was appended and knows what of it is committed, so a crash loses the rest, as a power cut would.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

from broker.clock import ManualClock
from broker.cluster.image import BrokerImage, ClusterImage, ImageDelta, PartitionImage, TopicImage
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.handlers import add_partitions_to_txn
from broker.handlers.context import ConnectionInfo, Request
from broker.protocol import batch, codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.transactions.driver import TransactionCoordinator
from broker.transactions.events import AddPartitions, EndTransaction, IdentityReply, InitProducerId
from broker.transactions.gate import TransactionGate
from broker.transactions.metadata import VERSION_2
from broker.types import TRANSACTIONS_TOPIC, TopicPartition, new_topic_id
from tests.support.wait import eventually

ID = "copier"
CLICKS = tuple(TopicPartition("clicks", index) for index in range(4))


@dataclass(frozen=True)
class Mark:
    producer_id: int
    producer_epoch: int
    commit: bool
    coordinator_epoch: int
    transaction_version: int


class MemoryPartition:
    """A partition of ``__transaction_state``; every append commits at once unless ``commits`` is off."""

    def __init__(self, index: int, step: Callable[[], bool] = lambda: True) -> None:
        """``step`` is asked before and after every append: false when the process is dead by then."""
        self._step = step
        self.topic_partition = TopicPartition(TRANSACTIONS_TOPIC, index)
        self.leader_epoch = 0
        self.batches: list[bytes] = []
        self.commits = True
        self.committed = 0
        """Batches that survive a crash."""
        self.refusal: ErrorCode | None = None
        self.reads: asyncio.Event | None = None
        self.log = SimpleNamespace(
            log_start_offset=0, log_end_offset=0, config=SimpleNamespace(max_message_bytes=1_048_588), read=self._read
        )
        self._waiting: list[asyncio.Future[None]] = []

    def append_refusal(self, acks: int) -> ErrorCode | None:
        return self.refusal

    def append(self, records: memoryview, *, acks: int, now_ms: int, leader_epoch: int, origin: str) -> Any:
        assert (acks, origin) == (-1, "coordinator")
        if self.refusal is not None or not self._step():
            raise KafkaError(self.refusal or ErrorCode.KAFKA_STORAGE_ERROR)
        if leader_epoch != self.leader_epoch:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        batch.stamp(records, 0, self.log.log_end_offset, leader_epoch)
        self.batches.append(bytes(records))
        self.log.log_end_offset += batch.read_header(records).record_count
        if self.commits and self._step():
            self.committed = len(self.batches)
        return SimpleNamespace(last_offset=self.log.log_end_offset - 1)

    def wait_committed(self, offset: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.committed == len(self.batches) and self._step():
            future.set_result(None)
        else:
            self._waiting.append(future)
        return future

    def commit(self) -> None:
        self.commits = True
        self.committed = len(self.batches)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def lose_uncommitted(self) -> None:
        del self.batches[self.committed :]
        self._waiting.clear()
        last = batch.read_header(memoryview(self.batches[-1])).next_offset if self.batches else 0
        self.log.log_end_offset = last
        self.commits = True

    def _read(self, offset: int, max_bytes: int, *, upto_offset: int, empty_alone: bool) -> list[bytes]:
        return [one for one in self.batches if batch.read_header(memoryview(one)).next_offset > offset]


@dataclass(eq=False)
class Node:
    """One broker: what a coordinator sees of its surroundings, and what others see of it."""

    id: int
    world: World
    listener: Any = None
    coordinator: TransactionCoordinator = field(init=False)
    gate: TransactionGate = field(init=False)
    subscribers: list[Callable[[ImageDelta], None]] = field(default_factory=list)

    # As a cluster driver
    @property
    def image(self) -> ClusterImage:
        return self.world.image

    def subscribe(self, subscriber: Callable[[ImageDelta], None]) -> None:
        self.subscribers.append(subscriber)

    async def create_topic_automatically(self, name: str) -> TopicImage:
        self.world.creations += 1
        await asyncio.sleep(0)
        if self.world.creation_error is not None:
            raise self.world.creation_error
        self.world.create(name, [1] * 4)
        return self.world.image.topics_by_name[name]

    async def allocate_producer_id(self) -> int:
        if self.world.producer_id_error is not None:
            raise self.world.producer_id_error
        self.world.next_producer_id += 1
        return self.world.next_producer_id

    # As a partition manager
    def listen(self, topic: str, listener: Any) -> None:
        assert topic == TRANSACTIONS_TOPIC
        self.listener = listener
        self.lead()

    def lead(self) -> None:
        """Tell the coordinator of every partition that this broker leads."""
        topic = self.world.image.topics_by_name.get(TRANSACTIONS_TOPIC)
        for index, partition in enumerate(topic.partitions if topic is not None else ()):
            if partition.leader == self.id and self.listener is not None:
                self.listener.on_became_leader(self.world.logs[index])

    # As peers
    async def request(self, broker_id: int, api_key: int, api_version: int, message: Any) -> Any:
        return await self.world.deliver(self.id, broker_id, api_key, api_version, message)


class World:
    def __init__(self, brokers: int = 1, **config: Any) -> None:
        self.clock = ManualClock()
        self.config = BrokerConfig(**config)
        self.image = ClusterImage(revision=1, brokers={index: _broker(index) for index in range(1, brokers + 1)})
        self.logs: dict[int, MemoryPartition] = {}
        self.creations = 0
        self.creation_error: KafkaError | None = None
        self.producer_id_error: KafkaError | None = None
        self.next_producer_id = 999
        self.marks: dict[TopicPartition, list[Mark]] = defaultdict(list)
        self.requests: list[tuple[int, int]] = []
        """(broker asked, API key) of every request between brokers."""
        self.unreachable: set[int] = set()
        self.marker_codes: dict[TopicPartition, deque[ErrorCode]] = defaultdict(deque)
        """What the next markers of a partition are answered with, instead of being written."""
        self.steps = 0
        self.dies_after: float = float("inf")
        """Steps (appends, commits, markers) after which broker 1 does nothing any more."""
        self.nodes = {index: self._node(index) for index in range(1, brokers + 1)}

    def _node(self, index: int) -> Node:
        node = Node(index, self)
        services: Any = node
        node.coordinator = TransactionCoordinator(
            node_id=index,
            config=self.config,
            clock=self.clock,
            cluster=services,
            partitions=services,
            peers=services,
        )
        node.gate = TransactionGate(
            node_id=index, coordinator=node.coordinator, peers=services, config=lambda: self.config
        )
        return node

    async def __aenter__(self) -> World:
        for node in self.nodes.values():
            await node.coordinator.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        for node in self.nodes.values():
            await node.coordinator.stop()

    @property
    def coordinator(self) -> TransactionCoordinator:
        return self.nodes[1].coordinator

    # Topics ------------------------------------------------------------------------------------------

    def create(self, name: str, leaders: Iterable[int]) -> None:
        partitions = tuple(_partition(leader) for leader in leaders)
        topic = TopicImage(name=name, topic_id=new_topic_id(), partitions=partitions, configs={})
        if name == TRANSACTIONS_TOPIC:
            self.logs = {index: MemoryPartition(index, self.step) for index in range(len(partitions))}
        self._move_to({**self.image.topics_by_name, name: topic})
        if name == TRANSACTIONS_TOPIC:
            for node in self.nodes.values():
                node.lead()

    def delete(self, name: str) -> None:
        self._move_to({key: topic for key, topic in self.image.topics_by_name.items() if key != name})

    def move(self, partition: TopicPartition, leader: int) -> None:
        """Another broker leads from now on. The old one of a coordinator's partition finds out."""
        topic = self.image.topics_by_name[partition.topic]
        old = topic.partitions[partition.partition]
        moved = replace(old, leader=leader, leader_epoch=old.leader_epoch + 1)
        partitions = tuple(moved if at == partition.partition else one for at, one in enumerate(topic.partitions))
        if partition.topic == TRANSACTIONS_TOPIC:
            self.logs[partition.partition].leader_epoch += 1
            for node in self.nodes.values():
                if node.id != leader:
                    node.coordinator.on_resigned(partition)
        self._move_to({**self.image.topics_by_name, topic.name: replace(topic, partitions=partitions)})
        if partition.topic == TRANSACTIONS_TOPIC and leader in self.nodes:
            self.nodes[leader].coordinator.on_became_leader(self.logs[partition.partition])  # type: ignore[arg-type]

    def _move_to(self, topics: dict[str, TopicImage]) -> None:
        old = self.image
        self.image = replace(
            old,
            revision=old.revision + 1,
            topics_by_name=topics,
            topics_by_id={topic.topic_id: topic for topic in topics.values()},
        )
        for node in self.nodes.values():
            for subscriber in node.subscribers:
                subscriber(ImageDelta(old=old, new=self.image))

    # Dying -------------------------------------------------------------------------------------------

    @property
    def dead(self) -> bool:
        return self.steps > self.dies_after

    def step(self) -> bool:
        """Something is about to happen, or has just happened. False: broker 1 is dead."""
        self.steps += 1
        return not self.dead

    # Network -----------------------------------------------------------------------------------------

    async def deliver(self, sender: int, broker_id: int, api_key: int, version: int, message: Any) -> Any:
        self.requests.append((broker_id, api_key))
        await asyncio.sleep(0)
        if broker_id in self.unreachable or sender in self.unreachable or self.dead:
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION, "no route")
        body = codec.encode_request(api_key, version, message)
        received = codec.decode_request(api_key, version, body)
        if api_key == ApiKey.WRITE_TXN_MARKERS:
            response = self._write_markers(broker_id, received)
            if self.dead:
                raise KafkaError(ErrorCode.NETWORK_EXCEPTION, "nobody is there to read the answer")
        else:
            response = await self._call(broker_id, api_key, version, received)
        return codec.decode_response(api_key, version, codec.encode_response(api_key, version, response))

    def _write_markers(self, broker_id: int, message: Any) -> Any:
        response = m.WriteTxnMarkersResponse
        return response(
            markers=[
                response.WritableTxnMarkerResult(
                    producer_id=marker.producer_id,
                    topics=[
                        response.WritableTxnMarkerTopicResult(
                            name=topic.name,
                            partitions=[
                                response.WritableTxnMarkerPartitionResult(
                                    partition_index=index,
                                    error_code=int(self._mark(broker_id, TopicPartition(topic.name, index), marker)),
                                )
                                for index in topic.partition_indexes
                            ],
                        )
                        for topic in marker.topics
                    ],
                )
                for marker in message.markers
            ]
        )

    def _mark(self, broker_id: int, partition: TopicPartition, marker: Any) -> ErrorCode:
        found = self.image.partition(*partition)
        if found is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if found.leader != broker_id:
            return ErrorCode.NOT_LEADER_OR_FOLLOWER
        if not self.step():
            return ErrorCode.UNKNOWN_SERVER_ERROR
        if self.marker_codes[partition]:
            return self.marker_codes[partition].popleft()
        self.marks[partition].append(
            Mark(
                marker.producer_id,
                marker.producer_epoch,
                marker.transaction_result,
                marker.coordinator_epoch,
                marker.transaction_version,
            )
        )
        return ErrorCode.NONE

    async def _call(self, broker_id: int, api_key: int, version: int, message: Any) -> Any:
        assert api_key == ApiKey.ADD_PARTITIONS_TO_TXN
        return await add_partitions_to_txn.handle(
            _request(api_key, version), message, self.services(self.nodes[broker_id])
        )

    def services(self, node: Node | None = None) -> Any:
        node = node or self.nodes[1]
        return SimpleNamespace(
            node_id=node.id,
            cluster=node,
            transactions=node.coordinator,
            gate=node.gate,
            clock=self.clock,
            config=self.config,
        )

    async def ask(self, handler: Any, version: int, message: Any, **services: Any) -> Any:
        """A client's request to broker 1, through the codec."""
        key = int(handler.API)
        decoded = codec.decode_request(key, version, codec.encode_request(key, version, message))
        given = self.services()
        vars(given).update(services)
        response = await handler.handle(_request(key, version, "client"), decoded, given)
        return codec.decode_response(key, version, codec.encode_response(key, version, response))

    # Lives -------------------------------------------------------------------------------------------

    async def crash(self, index: int = 1) -> None:
        """Broker ``index`` ends as by kill -9 and another process takes its place; returns when all is loaded."""
        self.dies_after = float("inf")
        old = self.nodes[index]
        for log in self.logs.values():
            log.refusal = ErrorCode.KAFKA_STORAGE_ERROR  # a dead process appends nothing
        await old.coordinator.stop()
        for at, log in self.logs.items():
            log.refusal = None
            if self.image.partition(TRANSACTIONS_TOPIC, at).leader == index:  # type: ignore[union-attr]
                log.lose_uncommitted()
                log.leader_epoch += 1
        self.nodes[index] = node = self._node(index)
        await node.coordinator.start()
        await self.loaded()

    async def loaded(self) -> None:
        await eventually(
            lambda: not any(seat.loading for node in self.nodes.values() for seat in node.coordinator.seats())
        )

    # A producer --------------------------------------------------------------------------------------

    async def init(self, key: str = ID, timeout_ms: int = 60_000) -> tuple[int, int]:
        await self.coordinator.find(key)
        return identity(
            await self.coordinator.init_producer_id(InitProducerId(transactional_id=key, timeout_ms=timeout_ms))
        )

    async def add(
        self, producer: tuple[int, int], *partitions: TopicPartition, key: str = ID, version: int = VERSION_2
    ) -> ErrorCode:
        reply = await self.coordinator.add_partitions(
            AddPartitions(
                transactional_id=key,
                producer_id=producer[0],
                producer_epoch=producer[1],
                partitions=frozenset(partitions or CLICKS),
                client_version=version,
            )
        )
        (code,) = set(reply.errors.values())
        return code

    async def end(
        self, producer: tuple[int, int], *, commit: bool = True, key: str = ID, version: int = VERSION_2
    ) -> tuple[int, int]:
        return identity(
            await self.coordinator.end(
                EndTransaction(
                    transactional_id=key,
                    producer_id=producer[0],
                    producer_epoch=producer[1],
                    commit=commit,
                    client_version=version,
                )
            )
        )

    async def state(self, key: str = ID, node: int = 1) -> str:
        described = await self.nodes[node].coordinator.describe(key)
        return described.state.wire_name if described is not None else "unknown"

    async def wait_state(self, state: str, key: str = ID, node: int = 1) -> None:
        async with asyncio.timeout(10):
            while await self.state(key, node) != state:  # noqa: ASYNC110 - the condition is asked for, not told
                await asyncio.sleep(0.001)


def identity(reply: IdentityReply) -> tuple[int, int]:
    return reply.producer_id, reply.producer_epoch


def _request(api_key: int, version: int, listener: str = "internal") -> Request:
    return Request(api_key, version, 1, "app", memoryview(b""), ConnectionInfo(1, "127.0.0.1", 1, listener))


def _broker(index: int) -> BrokerImage:
    return BrokerImage(
        id=index,
        host="127.0.0.1",
        port=9091 + index,
        internal_host="127.0.0.1",
        internal_port=19091 + index,
        rack=None,
        incarnation=str(index),
    )


def _partition(leader: int) -> PartitionImage:
    return PartitionImage(leader=leader, leader_epoch=0, isr=(1,), replicas=(1,), partition_epoch=0)
