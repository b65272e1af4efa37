"""One way to say "write these records" and "read that topic" for every client library.

Owns: the translation to each client's own API. Each function uses its client as its documentation shows, with
the client's own partitioner and record codec; nothing of Ottla is involved on this side of the wire.
"""

from __future__ import annotations

import asyncio
import functools
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

READ_SECONDS_MAX = 30
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = 0
    offset: int = -1

    @property
    def content(self) -> tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]:
        return self.key, self.value, self.headers


Writer = Callable[[str, str, Sequence[Message], str], dict[bytes, int]]
Reader = Callable[[str, str, int], list[Message]]


def write_with_confluent(bootstrap: str, topic: str, records: Sequence[Message], codec: str) -> dict[bytes, int]:
    """Produce with acks=all; returns the partition that each key was sent to."""
    from confluent_kafka import Producer

    partitions: dict[bytes, int] = {}
    failures: list[str] = []

    def delivered(error: object, message: object) -> None:
        if error is not None:
            failures.append(str(error))
        else:
            partitions[message.key()] = message.partition()  # type: ignore[attr-defined]

    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "compression.type": codec, "linger.ms": 20})
    for record in records:
        producer.produce(topic, record.value, record.key, headers=list(record.headers), on_delivery=delivered)
    assert producer.flush(30) == 0
    assert not failures, failures
    return partitions


def read_with_confluent(bootstrap: str, topic: str, count: int) -> list[Message]:
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    try:
        metadata = consumer.list_topics(topic, timeout=10)
        consumer.assign([TopicPartition(topic, index, OFFSET_BEGINNING) for index in metadata.topics[topic].partitions])
        found: list[Message] = []
        while len(found) < count:
            batch = consumer.consume(count - len(found), timeout=READ_SECONDS_MAX)
            assert batch, f"only {len(found)} of {count} records arrived"
            for message in batch:
                assert message.error() is None, message.error()
                found.append(
                    Message(
                        key=message.key(),
                        value=message.value(),
                        headers=tuple(message.headers() or ()),
                        partition=message.partition(),
                        offset=message.offset(),
                    )
                )
        return found
    finally:
        consumer.close()


def in_own_process(call: Callable[..., Value]) -> Callable[..., Value]:
    """Run ``call`` in a fresh interpreter. kafka-python leaves sockets and a thread to the garbage collector, which
    would be reported as the fault of whatever test comes next."""

    @functools.wraps(call)
    def run(*arguments: object) -> Value:
        program = (
            "import pickle, sys; from tests.interop import clients;"
            "name, arguments = pickle.load(sys.stdin.buffer);"
            "result = getattr(clients, name).__wrapped__(*arguments);"
            "sys.stdout.buffer.write(pickle.dumps(result))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            input=pickle.dumps((call.__name__, arguments)),
            capture_output=True,
            timeout=READ_SECONDS_MAX * 2,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return pickle.loads(done.stdout)

    return run


@in_own_process
def write_with_kafka_python(bootstrap: str, topic: str, records: Sequence[Message], codec: str) -> dict[bytes, int]:
    from kafka import KafkaProducer

    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", compression_type=None if codec == "none" else codec, linger_ms=20
    )
    try:
        sent = [
            (record.key, producer.send(topic, record.value, record.key, headers=list(record.headers)))
            for record in records
        ]
        return {key: future.get(timeout=30).partition for key, future in sent if key is not None}
    finally:
        producer.close(timeout=10)


@in_own_process
def read_with_kafka_python(bootstrap: str, topic: str, count: int) -> list[Message]:
    from kafka import KafkaConsumer, TopicPartition

    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        consumer_timeout_ms=READ_SECONDS_MAX * 1000,
    )
    try:
        partitions = consumer.partitions_for_topic(topic)
        consumer.assign([TopicPartition(topic, index) for index in sorted(partitions)])
        found: list[Message] = []
        for record in consumer:
            found.append(
                Message(
                    key=record.key,
                    value=record.value,
                    headers=tuple((name, value) for name, value in record.headers),
                    partition=record.partition,
                    offset=record.offset,
                )
            )
            if len(found) == count:
                return found
        raise AssertionError(f"only {len(found)} of {count} records arrived")
    finally:
        consumer.close()


@in_own_process
def read_committed_with_kafka_python(bootstrap: str, topic: str, last: bytes) -> list[bytes | None]:
    """What a reader of committed data gets up to the record with the value ``last``."""
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        consumer_timeout_ms=READ_SECONDS_MAX * 1_000,
    )
    try:
        found = []
        for record in consumer:
            found.append(record.value)
            if record.value == last:
                return found
        raise AssertionError(f"{last!r} did not arrive")
    finally:
        consumer.close()


@in_own_process
def administer_with_kafka_python(bootstrap: str, topic: str) -> tuple[list[str], list[str]]:
    """Create and delete a topic; the topics listed after each step."""
    from kafka.admin import KafkaAdminClient, NewTopic

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(topic, 2, 1)])
        created = list(admin.list_topics())
        admin.delete_topics([topic])
        return created, list(admin.list_topics())
    finally:
        admin.close()


def write_with_aiokafka(bootstrap: str, topic: str, records: Sequence[Message], codec: str) -> dict[bytes, int]:
    from aiokafka import AIOKafkaProducer

    async def write() -> dict[bytes, int]:
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, acks="all", compression_type=None if codec == "none" else codec, linger_ms=20
        )
        await producer.start()
        try:
            sent = [
                (record.key, await producer.send(topic, record.value, record.key, headers=list(record.headers)))
                for record in records
            ]
            return {key: (await future).partition for key, future in sent}
        finally:
            await producer.stop()

    return asyncio.run(asyncio.wait_for(write(), 60))


def read_with_aiokafka(bootstrap: str, topic: str, count: int) -> list[Message]:
    from aiokafka import AIOKafkaConsumer

    async def read() -> list[Message]:
        # Without a group the topic's partitions are all assigned.
        consumer = AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            found: list[Message] = []
            while len(found) < count:
                record = await asyncio.wait_for(consumer.getone(), READ_SECONDS_MAX)
                found.append(
                    Message(
                        key=record.key,
                        value=record.value,
                        headers=tuple(record.headers),
                        partition=record.partition,
                        offset=record.offset,
                    )
                )
            return found
        finally:
            await consumer.stop()

    return asyncio.run(read())


def write_with_kcat(bootstrap: str, topic: str, records: Sequence[Message], codec: str) -> dict[bytes, int]:
    """kcat takes one set of headers for all its input, so records are written in runs of equal headers."""
    lines = b"".join((record.key or b"") + b"\t" + (record.value or b"") + b"\n" for record in records)
    headers = [f"{name}={value.decode()}" for name, value in records[0].headers]
    assert all(record.headers == records[0].headers for record in records)
    command = ["kcat", "-P", "-b", bootstrap, "-t", topic, "-K", "\t", "-z", codec, "-X", "acks=all"]
    for header in headers:
        command += ["-H", header]
    subprocess.run(command, input=lines, check=True, timeout=60, capture_output=True)
    return {}


def read_with_kcat(bootstrap: str, topic: str, count: int) -> list[Message]:
    command = ["kcat", "-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-c", str(count), "-e", "-q"]
    done = subprocess.run(
        [*command, "-f", "%p\t%o\t%k\t%s\t%h\n"], check=True, timeout=READ_SECONDS_MAX * 2, capture_output=True
    )
    found = []
    for line in done.stdout.splitlines():
        partition, offset, key, value, headers = line.split(b"\t")
        pairs = tuple(
            (name.decode(), text) for name, _, text in (part.partition(b"=") for part in headers.split(b",") if part)
        )
        found.append(Message(key=key, value=value, headers=pairs, partition=int(partition), offset=int(offset)))
    assert len(found) == count, f"only {len(found)} of {count} records arrived"
    return found


WRITERS: dict[str, Writer] = {
    "confluent-kafka": write_with_confluent,
    "kafka-python": write_with_kafka_python,
    "aiokafka": write_with_aiokafka,
    "kcat": write_with_kcat,
}
READERS: dict[str, Reader] = {
    "confluent-kafka": read_with_confluent,
    "kafka-python": read_with_kafka_python,
    "aiokafka": read_with_aiokafka,
    "kcat": read_with_kcat,
}
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
