"""Recorders around aiokafka: another implementation of the protocol, with other mistakes to make."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from random import Random
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from tests.faults.checker.history import READ_COMMITTED, READ_UNCOMMITTED, Seen, Sent
from tests.faults.checker.outcomes import outcome_of_write
from tests.faults.values import decode_value, encode_value
from tests.faults.workloads.worker import MESSAGE_TIMEOUT_MS, Client, Options

IN_FLIGHT_MAX = 200
RETRY_SECONDS = 0.2


class AsyncClient(Client):
    def work(self) -> None:
        asyncio.run(self.main())

    async def main(self) -> None:
        raise AssertionError("a client has work")


class Writer(AsyncClient):
    """Idempotent, acks=all."""

    def __init__(self, options: Options, number: int) -> None:
        super().__init__(options, f"aiokafka-writer-{options.first_writer + number}", number)
        self.random = Random(f"{options.seed}-{self.name}")
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._unknown = False

    async def main(self) -> None:
        while not self.stopping.is_set():
            producer = AIOKafkaProducer(
                bootstrap_servers=self.options.bootstrap,
                enable_idempotence=True,
                acks="all",
                linger_ms=5,
                request_timeout_ms=MESSAGE_TIMEOUT_MS,
                retry_backoff_ms=100,
            )
            try:
                await producer.start()
            except KafkaError:
                with contextlib.suppress(KafkaError):
                    await producer.stop()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._life(producer)

    async def _life(self, producer: AIOKafkaProducer) -> None:
        self._unknown = False
        while not self.stopping.is_set() and not self._unknown:
            pause = 0.05 if len(self._in_flight) >= IN_FLIGHT_MAX else self.wait_turn()
            if pause:
                await asyncio.sleep(min(pause, 0.1))
            else:
                await self._send(producer)
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=MESSAGE_TIMEOUT_MS / 1_000 + 5)
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(producer.stop(), 10)
        for future in set(self._in_flight):
            future.cancel()
        self._in_flight.clear()
        if self._unknown:
            self.recorder.retire()

    async def _send(self, producer: AIOKafkaProducer) -> None:
        partition, value = self.random.randrange(self.options.partitions), self.new_value()
        sent = Sent(f"{self.options.topic}-{partition}", value)
        index = self.recorder.invoke("send", sends=[sent])
        content = encode_value(value, size=self.options.size)
        try:
            future = await producer.send(self.options.topic, content, partition=partition)
        except KafkaError as failure:
            self._failed(index, failure)
            return
        self._in_flight.add(future)
        future.add_done_callback(partial(self._delivered, index, sent))

    def _delivered(self, index: int, sent: Sent, future: asyncio.Future[Any]) -> None:
        self._in_flight.discard(future)
        if future.cancelled():
            self._unknown = True
            self.recorder.complete(index, "send", "info", error="cancelled")
        elif (failure := future.exception()) is not None:
            self._failed(index, failure)
        else:
            self.done += 1
            self.recorder.complete(index, "send", "ok", sends=[Sent(sent.key, sent.value, future.result().offset)])

    def _failed(self, index: int, failure: BaseException) -> None:
        outcome = outcome_of_write(type(failure).__name__)
        self._unknown = self._unknown or outcome == "info"
        self.recorder.complete(index, "send", outcome, error=type(failure).__name__)


class Reader(AsyncClient):
    """Assigned to every partition, reads committed data from the beginning on."""

    def __init__(self, options: Options, number: int) -> None:
        super().__init__(options, f"aiokafka-reader-{options.topic}-{number}", number)

    async def main(self) -> None:
        consumer = await self._consumer()
        partitions = [TopicPartition(self.options.topic, index) for index in range(self.options.partitions)]
        offsets = {f"{self.options.topic}-{index}": 0 for index in range(self.options.partitions)}
        self.recorder.note("assign", invoked_ns=time.monotonic_ns(), offsets=offsets)
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        try:
            while not self.stopping.is_set():
                invoked_ns = time.monotonic_ns()
                with contextlib.suppress(KafkaError):
                    polls = seen_in(await consumer.getmany(timeout_ms=100))
                    if polls:
                        self.recorder.note("poll", invoked_ns=invoked_ns, isolation=READ_COMMITTED, polls=polls)
                        self.done += sum(map(len, polls.values()))
        finally:
            await consumer.stop()

    async def _consumer(self) -> AIOKafkaConsumer:
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.options.bootstrap,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level=READ_COMMITTED,
                fetch_max_wait_ms=100,
                retry_backoff_ms=100,
            )
            try:
                await consumer.start()
                return consumer
            except KafkaError:
                await consumer.stop()
                await asyncio.sleep(RETRY_SECONDS)


class Member(AsyncClient):
    """Of a group; knows its generation, which librdkafka does not tell."""

    def __init__(self, options: Options, number: int) -> None:
        super().__init__(options, f"aiokafka-member-{options.group}-{number}", number)
        self.random = Random(f"{options.seed}-{self.name}")

    async def main(self) -> None:
        while not self.stopping.is_set():
            await self._membership(time.monotonic() + 8 + 20 * self.random.random())
            self.recorder.retire()

    async def _membership(self, until: float) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.options.bootstrap,
            group_id=self.options.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # What librdkafka's members speak, too.
            partition_assignment_strategy=[RangePartitionAssignor],
            session_timeout_ms=self.options.session_ms,
            heartbeat_interval_ms=500,
            retry_backoff_ms=100,
            fetch_max_wait_ms=100,
        )
        consumer.subscribe([self.options.topic], listener=_Listener(self, consumer))
        try:
            await consumer.start()
        except KafkaError:
            await consumer.stop()
            await asyncio.sleep(RETRY_SECONDS)
            return
        try:
            while not self.stopping.is_set() and time.monotonic() < until:
                invoked_ns, generation = time.monotonic_ns(), generation_of(consumer)
                with contextlib.suppress(KafkaError):
                    polls = seen_in(await consumer.getmany(timeout_ms=100))
                    if polls:
                        self.recorder.note(
                            "poll",
                            invoked_ns=invoked_ns,
                            isolation=READ_UNCOMMITTED,
                            group=self.options.group,
                            generation=generation,
                            polls=polls,
                        )
                        self.done += sum(map(len, polls.values()))
                        await self._commit(consumer, {key: seen[-1].offset + 1 for key, seen in polls.items()})
        finally:
            with contextlib.suppress(KafkaError):
                await consumer.stop()

    async def assigned(self, consumer: AIOKafkaConsumer, partitions: set[TopicPartition]) -> None:
        offsets: dict[str, int] = {}
        index = self.recorder.invoke("committed", group=self.options.group)
        try:
            for partition in partitions:
                found = await asyncio.wait_for(consumer.committed(partition), 10)
                offsets[f"{partition.topic}-{partition.partition}"] = -1 if found is None else found
        except (KafkaError, TimeoutError) as failure:
            self.recorder.complete(index, "committed", "info", error=type(failure).__name__)
        else:
            self.recorder.complete(index, "committed", "ok", group=self.options.group, offsets=offsets)
        self.recorder.note(
            "assign",
            invoked_ns=time.monotonic_ns(),
            group=self.options.group,
            generation=generation_of(consumer),
            offsets=offsets,
        )

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[str, int]) -> None:
        fields: dict[str, Any] = {
            "group": self.options.group,
            "generation": generation_of(consumer),
            "offsets": offsets,
        }
        index = self.recorder.invoke("commit", **fields)
        wanted = {
            TopicPartition(self.options.topic, int(key.rpartition("-")[2])): offset for key, offset in offsets.items()
        }
        try:
            await consumer.commit(wanted)
        except KafkaError as failure:
            self.recorder.complete(index, "commit", "info", error=type(failure).__name__, **fields)
        else:
            # A rebalance while it was under way would have made it fail: the generation is that of the request.
            self.recorder.complete(index, "commit", "ok", **fields)


class _Listener(ConsumerRebalanceListener):
    def __init__(self, member: Member, consumer: AIOKafkaConsumer) -> None:
        self._member, self._consumer = member, consumer

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """What was polled is committed already."""

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._member.assigned(self._consumer, assigned)


def generation_of(consumer: AIOKafkaConsumer) -> int:
    return int(getattr(consumer._coordinator, "generation", -1))


def seen_in(found: dict[TopicPartition, list[Any]]) -> dict[str, list[Seen]]:
    return {
        f"{partition.topic}-{partition.partition}": [
            Seen(record.offset, decode_value(record.value)[0], (record.key or b"").decode()) for record in records
        ]
        for partition, records in found.items()
        if records
    }
