"""The records of ``__consumer_offsets``, byte for byte Kafka's, so that Apache's own tools read them.

Owns: the schemas (key version = record type, value version = first int16 of the value) and the typed records
that the shard makes and replays. Called by ``groups/driver.py`` (encode on append, decode on load).

| key version | record | value versions read | written |
|---|---|---|---|
| 0, 1 | committed offset of (group, topic, partition) | 0-4 | 4 with the topic id; 1 when the client set a retention; else 3 |
| 2 | group metadata | 0-4 | 3 |

| 3-8, 16 | groups of the new protocol: see ``consumer/records.py`` | 0 | 0 |

A null value is a tombstone. Keys of other versions belong to protocols this broker does not speak yet; they are
skipped on load. To write a new version: add it to the reader first, release, then to the writer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from broker.coordination.primitives import (
    INT16,
    INT32,
    INT64,
    MalformedRecord,
    Reader,
    put_compact_string,
    put_nullable_string,
    put_string,
)
from broker.groups.consumer.records import (
    FIRST_CONSUMER_KEY_VERSION,
    ConsumerRecord,
    decode_consumer_record,
    encode_consumer_record,
)
from broker.types import NO_EPOCH, NO_TIMESTAMP, ZERO_TOPIC_ID, Buffer, Offset, TimestampMs, TopicId

OFFSET_KEY_VERSION = 1
GROUP_KEY_VERSION = 2
_TOPIC_ID_TAG = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetValue:
    offset: Offset
    commit_timestamp_ms: TimestampMs
    leader_epoch: int = NO_EPOCH
    metadata: str = ""
    expire_timestamp_ms: TimestampMs = NO_TIMESTAMP
    """Set only by clients older than OffsetCommit v5, which could choose a retention."""
    topic_id: TopicId = ZERO_TOPIC_ID
    """Zero when the record was written without one: then only the name ties the offset to its topic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRecord:
    group_id: str
    topic: str
    partition: int
    value: OffsetValue | None
    """``None`` deletes the offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberValue:
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    subscription: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupValue:
    protocol_type: str
    generation: int
    protocol: str | None
    leader: str | None
    state_timestamp_ms: TimestampMs
    members: tuple[MemberValue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord:
    group_id: str
    value: GroupValue | None
    """``None`` deletes the group."""


Record = OffsetRecord | GroupRecord | ConsumerRecord


def encode_record(record: Record) -> tuple[bytes, bytes | None]:
    """Key and value of one record."""
    if isinstance(record, OffsetRecord):
        key = b"".join(
            (
                INT16.pack(OFFSET_KEY_VERSION),
                put_string(record.group_id),
                put_string(record.topic),
                INT32.pack(record.partition),
            )
        )
        return key, None if record.value is None else _offset_value(record.value)
    if not isinstance(record, GroupRecord):
        return encode_consumer_record(record)
    key = INT16.pack(GROUP_KEY_VERSION) + put_string(record.group_id)
    return key, None if record.value is None else encode_group_value(record.value)


def decode_record(key: Buffer | None, value: Buffer | None) -> Record | None:
    """The record, or ``None`` for a key version of another protocol. Raises ``MalformedRecord``."""
    if key is None:
        raise MalformedRecord("a record of this topic has no key")
    reader = Reader(key)
    version = reader.int16()
    if version in (0, OFFSET_KEY_VERSION):
        group_id, topic, partition = reader.string(), reader.string(), reader.int32()
        offset_value = None if value is None else _read_offset_value(Reader(value))
        return OffsetRecord(group_id=group_id, topic=topic, partition=partition, value=offset_value)
    if version == GROUP_KEY_VERSION:
        group_id = reader.string()
        return GroupRecord(group_id=group_id, value=None if value is None else _read_group_value(Reader(value)))
    if version >= FIRST_CONSUMER_KEY_VERSION:
        return decode_consumer_record(version, reader, value)
    return None


def encode_group_value(value: GroupValue) -> bytes:
    """Version 3. Also used to learn whether a group still fits into one record before it is written."""
    parts = [
        INT16.pack(3),
        put_string(value.protocol_type),
        INT32.pack(value.generation),
        put_nullable_string(value.protocol),
        put_nullable_string(value.leader),
        INT64.pack(value.state_timestamp_ms),
        INT32.pack(len(value.members)),
    ]
    for member in value.members:
        parts += (
            put_string(member.member_id),
            put_nullable_string(member.instance_id),
            put_string(member.client_id),
            put_string(member.client_host),
            INT32.pack(member.rebalance_timeout_ms),
            INT32.pack(member.session_timeout_ms),
            INT32.pack(len(member.subscription)),
            member.subscription,
            INT32.pack(len(member.assignment)),
            member.assignment,
        )
    return b"".join(parts)


def _offset_value(value: OffsetValue) -> bytes:
    if value.expire_timestamp_ms != NO_TIMESTAMP:
        return b"".join(
            (
                INT16.pack(1),
                INT64.pack(value.offset),
                put_string(value.metadata),
                INT64.pack(value.commit_timestamp_ms),
                INT64.pack(value.expire_timestamp_ms),
            )
        )
    if value.topic_id == ZERO_TOPIC_ID:
        return b"".join(
            (
                struct.pack(">hqi", 3, value.offset, value.leader_epoch),
                put_string(value.metadata),
                INT64.pack(value.commit_timestamp_ms),
            )
        )
    return b"".join(
        (
            struct.pack(">hqi", 4, value.offset, value.leader_epoch),
            put_compact_string(value.metadata),
            INT64.pack(value.commit_timestamp_ms),
            bytes((1, _TOPIC_ID_TAG, 16)),
            value.topic_id,
        )
    )


def _read_offset_value(reader: Reader) -> OffsetValue:
    version = reader.int16()
    if not 0 <= version <= 4:
        raise MalformedRecord(f"unknown version {version} of an offset commit value")
    offset = reader.int64()
    leader_epoch = reader.int32() if version >= 3 else NO_EPOCH
    metadata = reader.compact_string() if version >= 4 else reader.string()
    commit_timestamp_ms = reader.int64()
    expire_timestamp_ms = reader.int64() if version == 1 else NO_TIMESTAMP
    topic_id = ZERO_TOPIC_ID
    if version >= 4:
        topic_id = reader.tagged_fields().get(_TOPIC_ID_TAG, ZERO_TOPIC_ID)
        if len(topic_id) != 16:
            raise MalformedRecord("a topic id is 16 bytes")
    return OffsetValue(
        offset=offset,
        commit_timestamp_ms=commit_timestamp_ms,
        leader_epoch=leader_epoch,
        metadata=metadata,
        expire_timestamp_ms=expire_timestamp_ms,
        topic_id=topic_id,
    )


def _read_group_value(reader: Reader) -> GroupValue:
    version = reader.int16()
    if not 0 <= version <= 4:
        raise MalformedRecord(f"unknown version {version} of a group metadata value")
    flexible = version >= 4
    string = reader.compact_string if flexible else reader.string
    nullable_string = reader.compact_nullable_string if flexible else reader.nullable_string
    read_bytes = reader.compact_bytes if flexible else reader.bytes_
    protocol_type = string()
    generation = reader.int32()
    protocol = nullable_string()
    leader = nullable_string()
    state_timestamp_ms = reader.int64() if version >= 2 else NO_TIMESTAMP
    count = reader.uvarint() - 1 if flexible else reader.int32()
    if not 0 <= count <= reader.remaining:
        raise MalformedRecord(f"{count} members in {reader.remaining} bytes")
    members = []
    for _ in range(count):
        member_id = string()
        instance_id = nullable_string() if version >= 3 else None
        client_id = string()
        client_host = string()
        rebalance_timeout_ms = reader.int32() if version >= 1 else -1
        session_timeout_ms = reader.int32()
        members.append(
            MemberValue(
                member_id=member_id,
                instance_id=instance_id,
                client_id=client_id,
                client_host=client_host,
                rebalance_timeout_ms=rebalance_timeout_ms if rebalance_timeout_ms >= 0 else session_timeout_ms,
                session_timeout_ms=session_timeout_ms,
                subscription=read_bytes(),
                assignment=read_bytes(),
            )
        )
        if flexible:
            reader.tagged_fields()
    if flexible:
        reader.tagged_fields()
    return GroupValue(
        protocol_type=protocol_type,
        generation=generation,
        protocol=protocol,
        leader=leader,
        state_timestamp_ms=state_timestamp_ms,
        members=tuple(members),
    )
