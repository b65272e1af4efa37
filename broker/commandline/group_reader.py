"""Reading as a member of a group, for ``console_consumer --group`` and ``consumer_perf --group``.

``broker.client`` administers groups but joins none: a member needs heartbeats, rebalances and assignors, and aiokafka,
which is here for its record codec anyway, has all of them. So a group command is an application like any other.

What must stay true: an offset is committed only after its record was handed over, so a command that is stopped, or
dies, repeats records and skips none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import CommitFailedError, IllegalStateError
from aiokafka.errors import KafkaError as ClientFailure

from broker.commandline.consuming import POLL_WAIT_MS, Consumed, Handle, Limits, Polled
from broker.commandline.outcome import CommandFailed
from broker.commandline.record_text import ConsumedRecord
from broker.commandline.signals import unless_stopped

TIMESTAMP_TYPES = {0: "CreateTime", 1: "LogAppendTime"}
RECORDS_PER_POLL_MAX = 5_000


async def consume_group(
    bootstrap: str,
    topic: str,
    group_id: str,
    limits: Limits,
    handle: Handle,
    stopping: asyncio.Event,
    *,
    from_beginning: bool,
    client_id: str,
    read_committed: bool = False,
    polled: Polled = lambda seconds, records: None,
) -> Consumed:
    """Until a limit or ``stopping``; then leave the group. ``from_beginning`` is for a group without offsets."""
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap.split(","),
        group_id=group_id,
        client_id=client_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest" if from_beginning else "latest",
        isolation_level="read_committed" if read_committed else "read_uncommitted",
    )
    try:
        try:
            await consumer.start()
            return await _consume(consumer, limits, handle, stopping, polled)
        finally:
            await consumer.stop()
    except ClientFailure as error:
        raise CommandFailed(f"group {group_id!r}: {error}") from error


async def _consume(consumer: Any, limits: Limits, handle: Handle, stopping: asyncio.Event, polled: Polled) -> Consumed:
    consumed = Consumed()
    last_record = time.monotonic()
    while not stopping.is_set():
        left = RECORDS_PER_POLL_MAX
        if limits.records_max is not None:
            left = min(left, limits.records_max - consumed.records)
        if left <= 0:
            break
        began = time.monotonic()
        wait_ms = POLL_WAIT_MS if limits.idle_ms is None else min(POLL_WAIT_MS, limits.idle_ms)
        found = await unless_stopped(consumer.getmany(timeout_ms=wait_ms, max_records=left), stopping) or {}
        read: dict[Any, int] = {}
        before = consumed.records
        for partition, records in found.items():
            for record in records:
                handle(_consumed(record))
                consumed.records += 1
                consumed.bytes += _size(record)
                read[KafkaPartition(partition.topic, partition.partition)] = record.offset + 1
        if read:
            last_record = time.monotonic()
            await _commit(consumer, read)
        polled(time.monotonic() - began, consumed.records - before)
        if limits.idle_ms is not None and (time.monotonic() - last_record) * 1000 >= limits.idle_ms:
            break
    return consumed


async def _commit(consumer: Any, offsets: dict[Any, int]) -> None:
    """A rebalance in between gives the partitions to somebody else, who reads these records again: not our failure."""
    try:
        await consumer.commit(offsets)
    except (CommitFailedError, IllegalStateError) as error:
        logging.getLogger(__name__).warning("not committed, somebody else reads on: %s", error)


def _consumed(record: Any) -> ConsumedRecord:
    return ConsumedRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        timestamp_type=TIMESTAMP_TYPES.get(record.timestamp_type, "NoTimestampType"),
        key=record.key,
        value=record.value,
        headers=tuple(record.headers),
    )


def _size(record: Any) -> int:
    total = len(record.key or b"") + len(record.value or b"")
    return total + sum(len(name) + len(value or b"") for name, value in record.headers)
