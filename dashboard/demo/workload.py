"""The demo workload: producers of this machine's metrics, a group that keeps up and one that falls behind.

Owns: its two topics and three group members, all through aiokafka as any application would, so what the dashboard
shows of them is what it shows of everyone. ``demo-archiver`` handles fewer records a second than arrive, on
purpose: its lag is real and grows until the workload stops. Stopping leaves topics and offsets where they are.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from dashboard.demo.metrics import MachineMetrics, Reading, busiest_processes
from dashboard.demo.names import CURRENT_GROUP, LAGGING_GROUP, METRICS_TOPIC, PROCESSES_TOPIC, TOPIC_CONFIGS, TOPICS

TICK_SECONDS = 1.0
PROCESSES_EVERY_TICKS = 3
ARCHIVED_PER_SECOND = 6
REPLICAS = 3
"""Of each topic, or as many as there are brokers."""


async def run(bootstrap: str, stopping: asyncio.Event) -> None:
    """Run until ``stopping`` is set. Raises aiokafka's errors when the broker cannot be reached at the start."""
    await _create_topics(bootstrap)
    tasks = [
        asyncio.create_task(_produce(bootstrap)),
        asyncio.create_task(_consume(bootstrap, CURRENT_GROUP, "live-view-1", None)),
        asyncio.create_task(_consume(bootstrap, CURRENT_GROUP, "live-view-2", None)),
        asyncio.create_task(_consume(bootstrap, LAGGING_GROUP, "archiver", ARCHIVED_PER_SECOND)),
    ]
    stop = asyncio.create_task(stopping.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stop}:
            task.result()
    finally:
        for task in (*tasks, stop):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _create_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        present = set(await admin.list_topics())
        replicas = min(REPLICAS, len((await admin.describe_cluster())["brokers"]))
        missing = [
            NewTopic(name, partitions, replicas, topic_configs=TOPIC_CONFIGS)
            for name, partitions in TOPICS.items()
            if name not in present
        ]
        if missing:
            await admin.create_topics(missing)
    finally:
        await admin.close()


async def _produce(bootstrap: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, client_id="demo-sensor", acks="all", linger_ms=20)
    try:
        await producer.start()
        metrics = MachineMetrics()
        tick = 0
        while True:
            began = time.monotonic()
            await _send(producer, METRICS_TOPIC, metrics.levels())
            if tick % PROCESSES_EVERY_TICKS == 0:
                await _send(producer, PROCESSES_TOPIC, busiest_processes())
            tick += 1
            await asyncio.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - began)))
    finally:
        await producer.stop()


async def _send(producer: AIOKafkaProducer, topic: str, readings: Iterable[Reading]) -> None:
    headers = [("source", b"psutil"), ("schema", b"1")]
    for key, value in readings:
        await producer.send(topic, json.dumps(value).encode(), key.encode(), headers=headers)


async def _consume(bootstrap: str, group: str, client_id: str, records_per_second: int | None) -> None:
    """A member of ``group``; with a rate it handles one record at a time and waits, as slow applications do."""
    consumer = AIOKafkaConsumer(
        *TOPICS,
        bootstrap_servers=bootstrap,
        group_id=group,
        client_id=f"demo-{client_id}",
        auto_offset_reset="earliest",
        auto_commit_interval_ms=1000,
    )
    try:
        await consumer.start()  # inside: a stop while the group is still forming must close it as well
        if records_per_second is None:
            while True:
                await consumer.getmany(timeout_ms=1000)
        while True:
            await consumer.getone()
            await asyncio.sleep(1 / records_per_second)
    finally:
        await consumer.stop()
