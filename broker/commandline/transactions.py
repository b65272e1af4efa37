"""``manage.py transactions``: who has what open, what hangs, and how to end it.

A *hanging* transaction is open in a partition, and no coordinator will ever end it: nobody knows its producer, or its
producer's transaction does not include the partition. It holds back everybody who reads committed records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from broker.client.blocking import Client
from broker.client.results import ProducerDescription, TransactionDescription
from broker.commandline.outcome import CommandFailed
from broker.commandline.output import column
from broker.commandline.times import format_time
from broker.errors import ErrorCode, KafkaError
from broker.types import TopicPartition

Row = dict[str, Any]

LIST_COLUMNS = (
    column("Transactional id", "transactional_id"),
    column("State", "state"),
    column("Producer id", "producer_id", right=True),
    column("Coordinator", "coordinator", right=True),
)
DESCRIBE_COLUMNS = (
    column("Transactional id", "transactional_id"),
    column("State", "state"),
    column("Producer id", "producer_id", right=True),
    column("Epoch", "producer_epoch", right=True),
    column("Coordinator", "coordinator", right=True),
    column("Timeout ms", "timeout_ms", right=True),
    column("Started", "start_ms", show=format_time),
    column("Open for ms", "duration_ms", right=True),
    column("Partitions", "partitions"),
)
PRODUCER_COLUMNS = (
    column("Partition", "partition", right=True),
    column("Producer id", "producer_id", right=True),
    column("Epoch", "producer_epoch", right=True),
    column("Coordinator epoch", "coordinator_epoch", right=True),
    column("Last sequence", "last_sequence", right=True),
    column("Last written", "last_timestamp_ms", show=format_time),
    column("Open since offset", "start_offset", right=True),
)
HANGING_COLUMNS = (column("Topic", "topic"), *PRODUCER_COLUMNS)


def list_transactions(
    client: Client,
    *,
    states: Iterable[str] = (),
    producer_ids: Iterable[int] = (),
    running_longer_ms: int = -1,
    pattern: str | None = None,
) -> list[Row]:
    listed = client.list_transactions(states, producer_ids, duration_ms=running_longer_ms, pattern=pattern)
    return [
        {
            "transactional_id": listing.transactional_id,
            "state": listing.state,
            "producer_id": listing.producer_id,
            "coordinator": listing.coordinator,
        }
        for listing in listed
    ]


def describe(client: Client, transactional_id: str, now_ms: int) -> Row:
    found = client.describe_transaction(transactional_id)
    started = found.start_ms >= 0
    open_now = found.state in ("Ongoing", "PrepareCommit", "PrepareAbort")
    return {
        "transactional_id": found.transactional_id,
        "state": found.state,
        "producer_id": found.producer_id,
        "producer_epoch": found.producer_epoch,
        "coordinator": found.coordinator,
        "timeout_ms": found.timeout_ms,
        "start_ms": found.start_ms if started else None,
        "duration_ms": now_ms - found.start_ms if open_now and started else None,
        "partitions": [str(partition) for partition in found.partitions],
    }


def describe_producers(client: Client, topic: str, partitions: Sequence[int] = ()) -> list[Row]:
    return [
        _producer_row(producer)
        for producer in client.describe_producers(topic)
        if not partitions or producer.partition in partitions
    ]


def find_hanging(client: Client, topics: Iterable[str], *, older_than_ms: int, now_ms: int) -> list[Row]:
    """Transactions whose last record is older than any producer may keep one open, and that nobody will end."""
    candidates = [
        (TopicPartition(topic, producer.partition), producer)
        for topic in topics
        for producer in client.describe_producers(topic)
        if producer.transaction_start_offset >= 0 and now_ms - producer.last_timestamp_ms > older_than_ms
    ]
    if not candidates:
        return []
    producer_ids = {producer.producer_id for _, producer in candidates}
    known = {listing.producer_id: listing.transactional_id for listing in client.list_transactions((), producer_ids)}
    described = {
        producer_id: _described(client, known[producer_id]) for producer_id in producer_ids if producer_id in known
    }
    return [
        {"topic": partition.topic, **_producer_row(producer)}
        for partition, producer in candidates
        if not _will_end(described.get(producer.producer_id), partition)
    ]


def abort(client: Client, partition: TopicPartition, start_offset: int) -> Row:
    """End the transaction that is open since ``start_offset``, in this partition only."""
    found = next(
        (
            producer
            for producer in client.describe_producers(partition.topic)
            if producer.partition == partition.partition and producer.transaction_start_offset == start_offset
        ),
        None,
    )
    if found is None:
        raise CommandFailed(f"no transaction is open in {partition} since offset {start_offset}")
    return abort_producer(
        client,
        partition,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        coordinator_epoch=found.coordinator_epoch,
    )


def abort_producer(
    client: Client, partition: TopicPartition, *, producer_id: int, producer_epoch: int, coordinator_epoch: int
) -> Row:
    # A producer whose first transaction hangs has seen no coordinator yet; 0 is older than none.
    client.write_transaction_marker(
        partition.topic, partition.partition, producer_id, producer_epoch, max(coordinator_epoch, 0)
    )
    return {
        "topic": partition.topic,
        "partition": partition.partition,
        "producer_id": producer_id,
        "producer_epoch": producer_epoch,
        "outcome": "aborted",
    }


def force_terminate(client: Client, transactional_id: str) -> Row:
    client.terminate_transaction(transactional_id)
    return {"transactional_id": transactional_id, "outcome": "terminated"}


def _producer_row(producer: ProducerDescription) -> Row:
    open_now = producer.transaction_start_offset >= 0
    return {
        "partition": producer.partition,
        "producer_id": producer.producer_id,
        "producer_epoch": producer.producer_epoch,
        "coordinator_epoch": producer.coordinator_epoch,
        "last_sequence": producer.last_sequence,
        "last_timestamp_ms": producer.last_timestamp_ms,
        "start_offset": producer.transaction_start_offset if open_now else None,
    }


def _described(client: Client, transactional_id: str) -> TransactionDescription | None:
    try:
        return client.describe_transaction(transactional_id)
    except KafkaError as error:
        if error.code is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND:
            return None  # forgotten since it was listed
        raise


def _will_end(found: TransactionDescription | None, partition: TopicPartition) -> bool:
    """Whether the coordinator knows that it owes this partition a marker."""
    return found is not None and partition in found.partitions
