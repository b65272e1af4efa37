"""Clients of the simulated cluster: idempotent producers that pipeline and retry as librdkafka does, and readers.

They speak the wire protocol through the project's own connections, over the simulated network, and never give up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from broker.client.asynchronous import AsyncClient
from broker.client.connection import Connection
from broker.client.errors import ClientConnectionError
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch
from tests.simulation.cluster import Cluster
from tests.simulation.history import History, Partition
from tests.simulation.loop import Process

REQUEST_SECONDS = 3.0
PRODUCE_TIMEOUT_MS = 2_000
PRODUCE_VERSION = 9
RETRY_SECONDS = (0.02, 0.3)
IN_FLIGHT_MAX = 4
PACE_SECONDS = 0.6
"""Between two rounds of a producer that got everything through."""
RETRIABLE = frozenset(
    {
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.BROKER_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.OFFSET_NOT_AVAILABLE,
    }
)
Result = TypeVar("Result")


class Client:
    """One client process."""

    def __init__(self, name: str, number: int, cluster: Cluster, history: History, random: Random) -> None:
        self.name = name
        self.cluster = cluster
        self.history = history
        self.random = random
        self.process = Process(name, f"10.0.1.{number}")
        self.client = AsyncClient(
            cluster.bootstrap, client_id=name, request_timeout_seconds=REQUEST_SECONDS, connect_timeout_seconds=1.0
        )
        self.stopping = False

    def note(self, what: str) -> None:
        self.cluster.trace.note(self.name, what)

    async def pause(self) -> None:
        await asyncio.sleep(self.random.uniform(*RETRY_SECONDS))

    async def persist(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Until it works: connections that fail and errors that pass are tried again."""
        while True:
            try:
                return await attempt()
            except ClientConnectionError:
                await self.pause()
            except KafkaError as error:
                if error.code not in RETRIABLE:
                    raise
                await self.pause()

    async def close(self) -> None:
        await self.client.close()


@dataclass
class Batch:
    sequence: int
    values: list[bytes]
    records: bytes


class IdempotentProducer(Client):
    """Writes numbered values to each partition, several batches in flight; what fails is sent again in order."""

    def __init__(self, *args: Any, partitions: list[Partition], batches: int) -> None:
        super().__init__(*args)
        self._partitions = partitions
        self._batches = batches

    async def run(self) -> None:
        answer = await self.persist(self._new_identity)
        self.producer_id, self.producer_epoch = answer.producer_id, answer.producer_epoch
        await asyncio.gather(*(self._write(partition) for partition in self._partitions))
        await self.close()

    async def _new_identity(self) -> Any:
        request = m.InitProducerIdRequest(transactional_id=None, transaction_timeout=60_000)
        answer = await self.client.router.call_any(ApiKey.INIT_PRODUCER_ID, request)
        if answer.error_code:
            raise KafkaError(ErrorCode(answer.error_code))
        return answer

    async def _write(self, partition: Partition) -> None:
        waiting: deque[Batch] = deque()
        sequence = made = 0
        while (made < self._batches and not self.stopping) or waiting:
            # A partition that does not know a producer takes any sequence number first, as in Kafka: one alone, until it does.
            in_flight_max = IN_FLIGHT_MAX if made > len(waiting) else 1
            while len(waiting) < in_flight_max and made < self._batches and not self.stopping:
                batch = self._batch(partition, sequence)
                sequence += len(batch.values)
                made += 1
                waiting.append(batch)
                if self.random.random() < 0.5:
                    break
            if not await self._send(partition, waiting):
                await self.pause()
                self.client.router.forget_topic(partition[0])
            else:
                await asyncio.sleep(self.random.uniform(0, PACE_SECONDS))

    def _batch(self, partition: Partition, sequence: int) -> Batch:
        values = [f"{self.name}:{sequence + index}".encode() for index in range(self.random.randint(1, 3))]
        for value in values:
            self.history.on_sent(partition, value)
        records = build_batch(
            (Record(timestamp=1_700_000_000_000, value=value) for value in values),
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            base_sequence=sequence,
        )
        return Batch(sequence, values, bytes(records))

    async def _send(self, partition: Partition, waiting: deque[Batch]) -> bool:
        """All that waits, one request each, on one connection. Whether all was acknowledged."""
        try:
            connection = await self._connection(partition)
        except (ClientConnectionError, KafkaError):
            return False
        results = await asyncio.gather(*(self._produce(connection, partition, batch) for batch in tuple(waiting)))
        for index, (code, offset) in enumerate(results):
            if code is None:
                batch = waiting.popleft()
                for number, value in enumerate(batch.values):
                    self.history.on_acknowledged(partition, value, offset + number)
                continue
            if index == 0 and code not in RETRIABLE:
                self.history.violate(
                    f"{partition}: {self.name} was refused sequence {waiting[0].sequence}: {code.name}"
                )
            return False
        return True

    async def _connection(self, partition: Partition) -> Connection:
        router = self.client.router
        (leader,) = await router.leaders(partition[0], [partition[1]])
        return await router._pool.acquire(await router.address_of(leader))

    async def _produce(
        self, connection: Connection, partition: Partition, batch: Batch
    ) -> tuple[ErrorCode | None, int]:
        r = m.ProduceRequest
        request = r(
            transactional_id=None,
            acks=-1,
            timeout=PRODUCE_TIMEOUT_MS,
            topic_data=[
                r.TopicProduceData(
                    name=partition[0],
                    partition_data=[r.PartitionProduceData(index=partition[1], records=batch.records)],
                )
            ],
        )
        try:
            answer = await connection.call_version(ApiKey.PRODUCE, PRODUCE_VERSION, request, REQUEST_SECONDS)
        except ClientConnectionError:
            return ErrorCode.NETWORK_EXCEPTION, -1
        result = answer.responses[0].partition_responses[0]
        if result.error_code:
            return ErrorCode(result.error_code), -1
        return None, result.base_offset


class Reader(Client):
    """Reads a partition to its end, over and over, with one isolation level."""

    def __init__(self, *args: Any, partition: Partition, committed: bool = False) -> None:
        super().__init__(*args)
        self._partition = partition
        self._committed = committed
        self.offset = 0

    async def run(self) -> None:
        topic, index = self._partition
        while not self.stopping:
            try:
                found = await self.client.reader.fetch(
                    topic, index, self.offset, max_wait_ms=200, read_committed=self._committed
                )
            except (ClientConnectionError, KafkaError) as error:
                if isinstance(error, KafkaError) and error.code is ErrorCode.OFFSET_OUT_OF_RANGE:
                    self._out_of_range()
                await self.pause()
                continue
            for record in found.records:
                self.history.on_read(self._partition, record.offset, record.value or b"")
            self.offset = found.next_offset
        await self.close()

    def _out_of_range(self) -> None:
        """A leader that does not know yet that it is none may lack what its successor has shown. What was read has to be
        there in the end; where power cuts may have taken it, the reader begins anew."""
        self.client.router.forget_topic(self._partition[0])
        if not self.history.trust_reads:
            self.offset = 0
