"""One member of a consumer group, as a process: run by the tests so that it can be killed like one.

``python -m tests.interop.group_member CLIENT BOOTSTRAP GROUP TOPIC [OPTIONS]`` where CLIENT names a library and OPTIONS
is JSON (``assignor``, ``instance``, ``tell``, ``protocol``). It reads from the beginning, commits what it has read, and prints one JSON
object a line: ``{"assignment": [...]}`` whenever that changes, ``{"values": [...]}`` after the commit that covers them (or
before, with ``tell`` = ``before``: then nothing read is ever untold, but some may be told twice). What a rebalance kept
from being committed is not told: its next owner reads it again. On SIGTERM it leaves the group properly and prints ``{"closed": true}``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

SESSION_MS = 4_000
HEARTBEAT_MS = 500
KAFKA_PYTHON_POLL_MS = 3_000

stop = threading.Event()


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


@contextlib.contextmanager
def told(values: list[str], options: dict[str, str]) -> Iterator[None]:
    """Around the commit of ``values``."""
    if options.get("tell") == "before":
        say(values=values)
        yield
    else:
        yield
        say(values=values)


class Assignment:
    """Prints an assignment when it differs from the one before."""

    def __init__(self) -> None:
        self._last: list[int] | None = None

    def now(self, partitions: list[int]) -> None:
        partitions = sorted(partitions)
        if partitions != self._last:
            self._last = partitions
            say(assignment=partitions)


def run_confluent(bootstrap: str, group: str, topic: str, options: dict[str, str]) -> None:
    from confluent_kafka import Consumer, KafkaException

    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    if options.get("protocol") == "consumer":
        # Sessions, heartbeats and assignors are the broker's matter.
        settings["group.protocol"] = "consumer"
    else:
        settings |= {
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "partition.assignment.strategy": options.get("assignor", "range"),
        }
    if "instance" in options:
        settings["group.instance.id"] = options["instance"]
    consumer = Consumer(settings)
    consumer.subscribe([topic])
    assignment = Assignment()
    while not stop.is_set():
        messages = [message for message in consumer.consume(500, timeout=0.1) if message.error() is None]
        assignment.now([partition.partition for partition in consumer.assignment()])
        if messages:
            values = [message.value().decode() for message in messages]
            with contextlib.suppress(KafkaException), told(values, options):
                consumer.commit(asynchronous=False)
    consumer.close()


def run_kafka_python(bootstrap: str, group: str, topic: str, options: dict[str, str]) -> None:
    from kafka import ConsumerRebalanceListener, KafkaConsumer
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.errors import KafkaError

    assignment = Assignment()

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked: Any) -> None:
            """The new assignment follows."""

        def on_partitions_assigned(self, assigned: Any) -> None:
            assignment.now([partition.partition for partition in assigned])

    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        partition_assignment_strategy=[RangePartitionAssignor],
        **({"group_instance_id": options["instance"]} if "instance" in options else {}),
    )
    consumer.subscribe([topic], listener=Listener())
    while not stop.is_set():
        # When a poll of kafka-python 3.0 times out between JoinGroup and SyncGroup, the assignment that arrives later
        # is dropped and the client sits there without heartbeats: a poll has to outlast a rebalance.
        try:
            batches = consumer.poll(timeout_ms=KAFKA_PYTHON_POLL_MS)
        except KafkaError:  # it lets its user know that the broker is away
            stop.wait(0.2)
            continue
        if batches:
            values = [record.value.decode() for records in batches.values() for record in records]
            with contextlib.suppress(KafkaError), told(values, options):
                consumer.commit()
    consumer.close()


def run_aiokafka(bootstrap: str, group: str, topic: str, options: dict[str, str]) -> None:
    from aiokafka import AIOKafkaConsumer
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
    from aiokafka.errors import KafkaError

    async def consume() -> None:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            partition_assignment_strategy=[RangePartitionAssignor],
            **({"group_instance_id": options["instance"]} if "instance" in options else {}),
        )
        await consumer.start()
        assignment = Assignment()
        try:
            while not stop.is_set():
                batches = await consumer.getmany(timeout_ms=100)
                assignment.now([partition.partition for partition in consumer.assignment()])
                if batches:
                    values = [record.value.decode() for records in batches.values() for record in records]
                    with contextlib.suppress(KafkaError), told(values, options):
                        await consumer.commit()
        finally:
            await consumer.stop()

    asyncio.run(consume())


CLIENTS = {"confluent-kafka": run_confluent, "kafka-python": run_kafka_python, "aiokafka": run_aiokafka}


def main() -> None:
    client, bootstrap, group, topic, *options = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    CLIENTS[client](bootstrap, group, topic, json.loads(options[0]) if options else {})
    say(closed=True)


if __name__ == "__main__":
    main()
