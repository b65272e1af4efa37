"""The records of ``__transaction_state``, byte for byte Kafka's, so that Apache's own tools read them.

Owns: the schema of key and value, and the typed record that the shard makes and replays. One record says everything
about one transactional id; a null value is a tombstone.

| | version | fields |
|---|---|---|
| key | 0 | transactional id (string) |
| value | 0 | producer id, epoch, timeout, status, partitions by topic (null while Empty), last update, start |
| value | 1, written | the same in flexible encoding; tags 0 previous producer id, 1 next producer id, 2 client's version |

To write a new version: add it to the reader first, release, then to the writer.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from broker.coordination.primitives import (
    INT16,
    INT32,
    INT64,
    MalformedRecord,
    Reader,
    put_compact_count,
    put_compact_string,
    put_string,
    put_tagged_fields,
)
from broker.transactions.metadata import Transaction
from broker.transactions.states import TransactionState
from broker.types import NO_PRODUCER_ID, Buffer, TopicPartition

KEY_VERSION = 0
VALUE_VERSION = 1
_PREVIOUS_PRODUCER_ID_TAG = 0
_NEXT_PRODUCER_ID_TAG = 1
_CLIENT_VERSION_TAG = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRecord:
    transactional_id: str
    value: Transaction | None
    """``None`` forgets the id."""


def encode_record(record: TransactionRecord) -> tuple[bytes, bytes | None]:
    """Key and value of one record."""
    key = INT16.pack(KEY_VERSION) + put_string(record.transactional_id)
    return key, None if record.value is None else encode_value(record.value)


def encode_value(value: Transaction) -> bytes:
    """Version 1. Also used to learn whether a transaction still fits into one record before it is written."""
    tags = {}
    if value.previous_producer_id != NO_PRODUCER_ID:
        tags[_PREVIOUS_PRODUCER_ID_TAG] = INT64.pack(value.previous_producer_id)
    if value.next_producer_id != NO_PRODUCER_ID:
        tags[_NEXT_PRODUCER_ID_TAG] = INT64.pack(value.next_producer_id)
    if value.client_version:
        tags[_CLIENT_VERSION_TAG] = INT16.pack(value.client_version)
    parts = [
        INT16.pack(VALUE_VERSION),
        INT64.pack(value.producer_id),
        INT16.pack(value.producer_epoch),
        INT32.pack(value.timeout_ms),
        bytes((value.state,)),
        *_partitions(value),
        INT64.pack(value.update_ms),
        INT64.pack(value.start_ms),
        put_tagged_fields(tags),
    ]
    return b"".join(parts)


def decode_record(key: Buffer | None, value: Buffer | None) -> TransactionRecord | None:
    """The record, or ``None`` for a key of a later version. Raises ``MalformedRecord``."""
    if key is None:
        raise MalformedRecord("a record of this topic has no key")
    reader = Reader(key)
    if reader.int16() != KEY_VERSION:
        return None
    transactional_id = reader.string()
    return TransactionRecord(
        transactional_id=transactional_id, value=None if value is None else _read_value(Reader(value))
    )


def _partitions(value: Transaction) -> list[bytes]:
    if value.state is TransactionState.EMPTY:
        return [b"\x00"]
    by_topic: dict[str, list[int]] = defaultdict(list)
    for topic, partition in sorted(value.partitions):
        by_topic[topic].append(partition)
    parts = [put_compact_count(len(by_topic))]
    for topic, indexes in by_topic.items():
        parts += (
            put_compact_string(topic),
            put_compact_count(len(indexes)),
            *map(INT32.pack, indexes),
            put_tagged_fields({}),
        )
    return parts


def _read_value(reader: Reader) -> Transaction:
    version = reader.int16()
    if version not in (0, 1):
        raise MalformedRecord(f"unknown version {version} of a transaction")
    compact = version >= 1
    producer_id = reader.int64()
    producer_epoch = reader.int16()
    timeout_ms = reader.int32()
    state = _read_state(reader.int8())
    partitions = _read_partitions(reader, compact=compact)
    update_ms = reader.int64()
    start_ms = reader.int64()
    tags = reader.tagged_fields() if compact else {}
    return Transaction(
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        timeout_ms=timeout_ms,
        state=state,
        partitions=partitions,
        update_ms=update_ms,
        start_ms=start_ms,
        previous_producer_id=_tagged_int64(tags, _PREVIOUS_PRODUCER_ID_TAG),
        next_producer_id=_tagged_int64(tags, _NEXT_PRODUCER_ID_TAG),
        client_version=Reader(tags[_CLIENT_VERSION_TAG]).int16() if _CLIENT_VERSION_TAG in tags else 0,
    )


def _read_state(number: int) -> TransactionState:
    try:
        return TransactionState(number)
    except ValueError as error:
        raise MalformedRecord(f"no transaction state has the number {number}") from error


def _read_partitions(reader: Reader, *, compact: bool) -> frozenset[TopicPartition]:
    partitions = set()
    for _ in range(reader.nullable_count(compact=compact)):
        topic = reader.compact_string() if compact else reader.string()
        for _ in range(reader.nullable_count(compact=compact)):
            partitions.add(TopicPartition(topic, reader.int32()))
        if compact:
            reader.tagged_fields()
    return frozenset(partitions)


def _tagged_int64(tags: dict[int, bytes], tag: int) -> int:
    return Reader(tags[tag]).int64() if tag in tags else NO_PRODUCER_ID
