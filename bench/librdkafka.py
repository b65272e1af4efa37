"""Load and latency through confluent-kafka: what an ordinary client sees."""

from __future__ import annotations

import struct
import threading
import time
from dataclasses import dataclass

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.raw import Throughput

_STAMP = struct.Struct(">d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """End-to-end milliseconds from just before ``produce`` to the consumer's ``poll``."""

    samples: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def produce(
    bootstrap: str, topic: str, *, record_bytes: int, batch_bytes: int, acks: str, total_bytes: int
) -> Throughput:
    """Python's own loop bounds this one: compare it with itself, not with the raw client."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": acks,
            "linger.ms": 5,
            "batch.size": batch_bytes,
            "message.max.bytes": max(1_000_000, batch_bytes),
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 512_000,
        }
    )
    value = b"x" * record_bytes
    count = total_bytes // record_bytes
    began = time.monotonic()
    for index in range(count):
        while True:
            try:
                producer.produce(topic, value)
                break
            except BufferError:
                producer.poll(0.01)
        if not index & 1023:
            producer.poll(0)
    undelivered = producer.flush(120)
    seconds = time.monotonic() - began
    if undelivered:
        raise RuntimeError(f"{undelivered} records were not delivered")
    return Throughput(records=count, megabytes=count * record_bytes / 1e6, seconds=seconds, requests=0)


def consume(bootstrap: str, topic: str, *, count: int) -> Throughput:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    got = size = 0
    began = time.monotonic()
    try:
        while got < count:
            batch = consumer.consume(min(10_000, count - got), timeout=10)
            if not batch:
                raise RuntimeError(f"no more records after {got} of {count}")
            got += len(batch)
            size += sum(len(message.value()) for message in batch)
        seconds = time.monotonic() - began
    finally:
        consumer.close()
    return Throughput(records=got, megabytes=size / 1e6, seconds=seconds, requests=0)


def end_to_end(bootstrap: str, topic: str, *, rate: int, seconds: float, acks: str, record_bytes: int = 100) -> Latency:
    """Produce at a steady rate with linger 0 while a consumer thread polls."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-latency",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 500,
        }
    )
    consumer.assign([TopicPartition(topic, 0)])
    latencies: list[float] = []
    warmed, stopping = threading.Event(), threading.Event()

    def read() -> None:
        while not stopping.is_set():
            message = consumer.poll(0.1)
            if message is None or message.error():
                continue
            sent = _STAMP.unpack_from(message.value())[0]
            if sent:
                latencies.append(time.monotonic() - sent)
            else:
                warmed.set()

    reader = threading.Thread(target=read)
    reader.start()
    producer = Producer({"bootstrap.servers": bootstrap, "acks": acks, "linger.ms": 0})
    padding = b"x" * (record_bytes - _STAMP.size)
    try:
        while not warmed.wait(0.1):
            producer.produce(topic, _STAMP.pack(0.0) + padding)
            producer.flush(1)
        expected = int(rate * seconds)
        began = time.monotonic()
        for index in range(expected):
            due = began + index / rate
            while (now := time.monotonic()) < due:
                time.sleep(due - now)
            producer.produce(topic, _STAMP.pack(time.monotonic()) + padding)
            producer.poll(0)
        producer.flush(30)
        deadline = time.monotonic() + 5
        while len(latencies) < expected and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        stopping.set()
        reader.join()
        consumer.close()
    ordered = sorted(latencies)
    return Latency(
        samples=len(ordered),
        p50_ms=ordered[len(ordered) // 2] * 1e3,
        p99_ms=ordered[len(ordered) * 99 // 100] * 1e3,
        max_ms=ordered[-1] * 1e3,
    )
