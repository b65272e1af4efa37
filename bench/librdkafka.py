"""Latency and transactions through confluent-kafka: what an ordinary client sees. Its throughput is in ``native.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

from confluent_kafka import Producer

from bench.latency_reader import STAMP, WARM_UP
from bench.raw import Throughput

WARM_UP_SECONDS_MAX = 30.0
RUN_UP_SECONDS = 2.0
"""At full rate and not measured: a fresh topic's first segment and a cold JIT are not what the row is about."""
WARM_UP_TRANSACTIONS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """End-to-end milliseconds from just before ``produce`` to the consumer's ``poll``."""

    samples: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def end_to_end(
    bootstrap: str, topic: str, *, rate: int, seconds: float, acks: str, record_bytes: int = 100, partitions: int = 1
) -> Latency:
    """Produce at a steady rate with linger 0 while another process polls."""
    expected = int(rate * seconds)
    reader = subprocess.Popen(
        [sys.executable, "-m", "bench.latency_reader", bootstrap, topic, str(expected), str(partitions)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    # Each record to a partition of its own choice: the library would else stay with one for a while.
    producer = Producer(
        {"bootstrap.servers": bootstrap, "acks": acks, "linger.ms": 0, "sticky.partitioning.linger.ms": 0}
    )
    padding = b"x" * (record_bytes - STAMP.size)
    try:
        os.set_blocking(reader.stdout.fileno(), False)
        deadline = time.monotonic() + WARM_UP_SECONDS_MAX
        while not reader.stdout.readline():
            if time.monotonic() > deadline:
                raise RuntimeError("the reader of the latency row never saw a record")
            producer.produce(topic, STAMP.pack(WARM_UP) + padding)
            producer.flush(1)
            time.sleep(0.1)
        os.set_blocking(reader.stdout.fileno(), True)
        began = time.monotonic()
        warm_up = int(rate * RUN_UP_SECONDS)
        for index in range(warm_up + expected):
            due = began + index / rate
            while (now := time.monotonic()) < due:
                time.sleep(due - now)
            producer.produce(topic, STAMP.pack(now if index >= warm_up else WARM_UP) + padding)
            producer.poll(0)
        producer.flush(30)
        ordered = json.loads(reader.stdout.readline())
    finally:
        reader.kill()
        reader.communicate()
    if len(ordered) < expected:
        raise RuntimeError(f"{len(ordered)} of {expected} records of the latency row arrived")
    return Latency(
        samples=len(ordered),
        p50_ms=ordered[len(ordered) // 2],
        p99_ms=ordered[len(ordered) * 99 // 100],
        max_ms=ordered[-1],
    )


def transactions(bootstrap: str, topic: str, *, count: int, records_each: int, record_bytes: int) -> Throughput:
    """``count`` transactions one after the other, each committed before the next begins."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": f"bench-{topic}", "linger.ms": 0, "acks": "all"}
    )
    producer.init_transactions(60)
    value = b"x" * record_bytes
    began = 0.0
    for number in range(-WARM_UP_TRANSACTIONS, count):
        if number == 0:
            began = time.monotonic()
        producer.begin_transaction()
        for _ in range(records_each):
            producer.produce(topic, value)
        producer.commit_transaction(60)
    seconds = time.monotonic() - began
    records = count * records_each
    return Throughput(records=records, megabytes=records * record_bytes / 1e6, seconds=seconds, requests=count)
