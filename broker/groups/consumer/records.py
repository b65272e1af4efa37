"""The records of groups of the new consumer protocol (KIP-848), byte for byte Kafka's.

Owns: the typed records a consumer group is made of, and their schemas. Whatever of such a group survives a restart is
in these values; a member is the pair of its metadata and its current assignment.

| key version | record | value |
|---|---|---|
| 3 | ``GroupEpochRecord`` | group epoch, hash of what is known of the subscribed topics |
| 4 | ``PartitionMetadataRecord`` | what Kafka 4.0 kept instead of the hash; read as "is there", only its tombstone is written |
| 5 | ``MemberRecord`` | who a member is, what it subscribes to, what it spoke before |
| 6 | ``TargetEpochRecord`` | the group epoch for which the targets were made, and when |
| 7 | ``TargetRecord`` | what one member is to have |
| 8 | ``CurrentRecord`` | what one member has and must give up, its epoch and state |
| 16 | ``RegexRecord`` | the topics a regular expression stood for, and when that was found out |

All values have version 0 and are flexible; fields added later are tagged (metadata hash 4.1, assignment epochs 4.2,
assignment time 4.3), so that both older and newer brokers read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from broker.coordination.primitives import (
    INT16,
    INT32,
    INT64,
    MalformedRecord,
    Reader,
    put_compact_bytes,
    put_compact_count,
    put_compact_nullable_string,
    put_compact_string,
    put_string,
    put_uvarint,
)
from broker.types import Buffer, TimestampMs, TopicId

FIRST_CONSUMER_KEY_VERSION = 3
_GROUP_EPOCH, _PARTITION_METADATA, _MEMBER, _TARGET_EPOCH, _TARGET, _CURRENT = range(3, 9)
_REGEX = 16

Partitions: TypeAlias = Mapping[TopicId, frozenset[int]]
"""Of one member, by topic; no topic without partitions."""
OwnedPartitions: TypeAlias = Mapping[TopicId, Mapping[int, int]]
"""Of one member, by topic and partition: the epoch in which it came to own the partition."""

STABLE, UNREVOKED_PARTITIONS, UNRELEASED_PARTITIONS, UNKNOWN_STATE = 0, 1, 2, 127
"""``CurrentAssignment.state``. A state of a later version reads as the last."""
MEMBER_STATES: Mapping[int, str] = {
    STABLE: "Stable",
    UNREVOKED_PARTITIONS: "UnrevokedPartitions",
    UNRELEASED_PARTITIONS: "UnreleasedPartitions",
    UNKNOWN_STATE: "Unknown",
}

T = TypeVar("T")

_NO_TAGS = b"\x00"
_NULL, _PRESENT = b"\x00", b"\x01"
_TAG = 0
"""Every tagged field of these records has the number 0 in its structure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEpoch:
    epoch: int
    metadata_hash: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicMetadata:
    """What a member that still speaks the classic protocol said in its JoinGroup."""

    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]
    """(name, metadata), its favourite first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberMetadata:
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topics: tuple[str, ...] = ()
    """Subscribed to by name; sorted, each once."""
    regex: str | None = None
    """Subscribed to by pattern; empty like ``None`` is none."""
    rebalance_timeout_ms: int = -1
    assignor: str | None = None
    classic: ClassicMetadata | None = None
    """``None``: the member speaks the new protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEpoch:
    epoch: int
    timestamp_ms: TimestampMs = 0
    """When the targets were made; 0 unknown, so new ones may be made at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentAssignment:
    epoch: int = 0
    previous_epoch: int = 0
    """Still accepted from a member that may not have heard of ``epoch``."""
    state: int = STABLE
    assigned: OwnedPartitions = field(default_factory=dict)
    revoking: OwnedPartitions = field(default_factory=dict)
    """Told to give up, and not known to be given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRegex:
    topics: frozenset[str]
    version: int = 0
    """Of the cluster image that was looked at."""
    timestamp_ms: TimestampMs = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEpochRecord:
    group_id: str
    value: GroupEpoch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMetadataRecord:
    group_id: str
    present: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRecord:
    group_id: str
    member_id: str
    value: MemberMetadata | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetEpochRecord:
    group_id: str
    value: TargetEpoch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord:
    group_id: str
    member_id: str
    value: Partitions | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentRecord:
    group_id: str
    member_id: str
    value: CurrentAssignment | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexRecord:
    group_id: str
    regex: str
    value: ResolvedRegex | None


ConsumerRecord = (
    GroupEpochRecord
    | PartitionMetadataRecord
    | MemberRecord
    | TargetEpochRecord
    | TargetRecord
    | CurrentRecord
    | RegexRecord
)

# Writing ---------------------------------------------------------------------------------------------


def encode_consumer_record(record: ConsumerRecord) -> tuple[bytes, bytes | None]:
    match record:
        case GroupEpochRecord(group_id=group_id, value=value):
            return _key(_GROUP_EPOCH, group_id), None if value is None else _group_epoch(value)
        case PartitionMetadataRecord(group_id=group_id, present=present):
            assert not present, "only ever deleted"
            return _key(_PARTITION_METADATA, group_id), None
        case MemberRecord(group_id=group_id, member_id=member_id, value=metadata):
            return _key(_MEMBER, group_id, member_id), None if metadata is None else _member(metadata)
        case TargetEpochRecord(group_id=group_id, value=epoch):
            return _key(_TARGET_EPOCH, group_id), None if epoch is None else _target_epoch(epoch)
        case TargetRecord(group_id=group_id, member_id=member_id, value=target):
            return _key(_TARGET, group_id, member_id), None if target is None else _target(target)
        case CurrentRecord(group_id=group_id, member_id=member_id, value=current):
            return _key(_CURRENT, group_id, member_id), None if current is None else _current(current)
        case RegexRecord(group_id=group_id, regex=regex, value=resolved):
            return _key(_REGEX, group_id, regex), None if resolved is None else _regex(resolved)


def _key(version: int, *names: str) -> bytes:
    return INT16.pack(version) + b"".join(put_string(name) for name in names)


def _value(*parts: bytes, tagged: bytes | None = None) -> bytes:
    """Version 0 of a value: its fields, then the one tagged field if it is not at its default."""
    return INT16.pack(0) + b"".join(parts) + _tags(tagged)


def _tags(tagged: bytes | None) -> bytes:
    return _NO_TAGS if tagged is None else bytes((1, _TAG)) + put_uvarint(len(tagged)) + tagged


def _group_epoch(value: GroupEpoch) -> bytes:
    hashed = INT64.pack(value.metadata_hash) if value.metadata_hash else None
    return _value(INT32.pack(value.epoch), tagged=hashed)


def _target_epoch(value: TargetEpoch) -> bytes:
    timestamp = INT64.pack(value.timestamp_ms) if value.timestamp_ms else None
    return _value(INT32.pack(value.epoch), tagged=timestamp)


def _member(value: MemberMetadata) -> bytes:
    return _value(
        put_compact_nullable_string(value.instance_id),
        put_compact_nullable_string(value.rack_id),
        put_compact_string(value.client_id),
        put_compact_string(value.client_host),
        _strings(value.topics),
        put_compact_nullable_string(value.regex),
        INT32.pack(value.rebalance_timeout_ms),
        put_compact_nullable_string(value.assignor),
        tagged=_NULL if value.classic is None else _classic(value.classic),
    )


def _classic(value: ClassicMetadata) -> bytes:
    """A nullable structure begins with a byte that says whether it is there. Null is written out: to Kafka a value
    without this field is that of a classic member without protocols."""
    parts = [_PRESENT, INT32.pack(value.session_timeout_ms), put_compact_count(len(value.protocols))]
    for name, metadata in value.protocols:
        parts += (put_compact_string(name), put_compact_bytes(metadata), _NO_TAGS)
    return b"".join((*parts, _NO_TAGS))


def _strings(texts: Iterable[str]) -> bytes:
    written = [put_compact_string(text) for text in texts]
    return put_compact_count(len(written)) + b"".join(written)


def _target(value: Partitions) -> bytes:
    parts = [put_compact_count(len(value))]
    for topic_id in sorted(value):
        parts += (topic_id, _int32s(sorted(value[topic_id])), _NO_TAGS)
    return _value(*parts)


def _current(value: CurrentAssignment) -> bytes:
    return _value(
        INT32.pack(value.epoch),
        INT32.pack(value.previous_epoch),
        value.state.to_bytes(1, "big", signed=True),
        _owned(value.assigned),
        _owned(value.revoking),
    )


def _owned(value: OwnedPartitions) -> bytes:
    parts = [put_compact_count(len(value))]
    for topic_id in sorted(value):
        epochs = dict(sorted(value[topic_id].items()))
        parts += (topic_id, _int32s(epochs), _tags(_int32s(epochs.values())))
    return b"".join(parts)


def _int32s(numbers: Iterable[int]) -> bytes:
    written = [INT32.pack(number) for number in numbers]
    return put_compact_count(len(written)) + b"".join(written)


def _regex(value: ResolvedRegex) -> bytes:
    return _value(_strings(sorted(value.topics)), INT64.pack(value.version), INT64.pack(value.timestamp_ms))


# Reading ---------------------------------------------------------------------------------------------


def decode_consumer_record(version: int, key: Reader, value: Buffer | None) -> ConsumerRecord | None:
    """The record whose key version was read from ``key`` already; ``None`` for a version of another protocol."""
    if version not in (*range(_GROUP_EPOCH, _CURRENT + 1), _REGEX):
        return None
    group_id = key.string()
    match version:
        case 3:
            return GroupEpochRecord(group_id=group_id, value=_read(value, _read_group_epoch))
        case 4:
            return PartitionMetadataRecord(group_id=group_id, present=value is not None)
        case 5:
            return MemberRecord(group_id=group_id, member_id=key.string(), value=_read(value, _read_member))
        case 6:
            return TargetEpochRecord(group_id=group_id, value=_read(value, _read_target_epoch))
        case 7:
            return TargetRecord(group_id=group_id, member_id=key.string(), value=_read(value, _read_target))
        case 8:
            return CurrentRecord(group_id=group_id, member_id=key.string(), value=_read(value, _read_current))
        case _:
            return RegexRecord(group_id=group_id, regex=key.string(), value=_read(value, _read_regex))


def _read(value: Buffer | None, read: Callable[[Reader], T]) -> T | None:
    if value is None:
        return None
    reader = Reader(value)
    version = reader.int16()
    if version != 0:
        raise MalformedRecord(f"unknown version {version} of a consumer group's value")
    return read(reader)


def _read_group_epoch(reader: Reader) -> GroupEpoch:
    epoch = reader.int32()
    tagged = reader.tagged_fields().get(_TAG)
    return GroupEpoch(epoch=epoch, metadata_hash=0 if tagged is None else Reader(tagged).int64())


def _read_target_epoch(reader: Reader) -> TargetEpoch:
    epoch = reader.int32()
    tagged = reader.tagged_fields().get(_TAG)
    return TargetEpoch(epoch=epoch, timestamp_ms=0 if tagged is None else Reader(tagged).int64())


def _read_member(reader: Reader) -> MemberMetadata:
    instance_id = reader.compact_nullable_string()
    rack_id = reader.compact_nullable_string()
    client_id = reader.compact_string()
    client_host = reader.compact_string()
    topics = _read_strings(reader)
    regex = reader.compact_nullable_string()
    rebalance_timeout_ms = reader.int32()
    assignor = reader.compact_nullable_string()
    tagged = reader.tagged_fields().get(_TAG)
    return MemberMetadata(
        instance_id=instance_id,
        rack_id=rack_id,
        client_id=client_id,
        client_host=client_host,
        topics=tuple(sorted(set(topics))),
        regex=regex,
        rebalance_timeout_ms=rebalance_timeout_ms,
        assignor=assignor,
        classic=None if tagged is None else _read_classic(Reader(tagged)),
    )


def _read_classic(reader: Reader) -> ClassicMetadata | None:
    if reader.uvarint() == 0:
        return None
    session_timeout_ms = reader.int32()
    protocols = []
    for _ in range(reader.compact_count(3)):
        protocols.append((reader.compact_string(), reader.compact_bytes()))
        reader.tagged_fields()
    return ClassicMetadata(session_timeout_ms=session_timeout_ms, protocols=tuple(protocols))


def _read_strings(reader: Reader) -> list[str]:
    return [reader.compact_string() for _ in range(reader.compact_count(1))]


def _read_target(reader: Reader) -> Partitions:
    target: dict[TopicId, frozenset[int]] = {}
    for _ in range(reader.compact_count(18)):
        topic_id = reader.uuid()
        target[topic_id] = frozenset(_read_int32s(reader))
        reader.tagged_fields()
    return target


def _read_current(reader: Reader) -> CurrentAssignment:
    epoch, previous_epoch, state = reader.int32(), reader.int32(), reader.int8()
    return CurrentAssignment(
        epoch=epoch,
        previous_epoch=previous_epoch,
        state=state if STABLE <= state <= UNRELEASED_PARTITIONS else UNKNOWN_STATE,
        assigned=_read_owned(reader, epoch),
        revoking=_read_owned(reader, epoch),
    )


def _read_owned(reader: Reader, epoch: int) -> OwnedPartitions:
    """Brokers before 4.2 wrote no epochs: then all partitions count as owned since ``epoch``."""
    owned: dict[TopicId, dict[int, int]] = {}
    for _ in range(reader.compact_count(18)):
        topic_id = reader.uuid()
        partitions = _read_int32s(reader)
        tagged = reader.tagged_fields().get(_TAG)
        epochs = [epoch] * len(partitions) if tagged is None else _read_int32s(Reader(tagged))
        if len(epochs) != len(partitions):
            raise MalformedRecord(f"{len(epochs)} epochs of {len(partitions)} partitions")
        owned[topic_id] = dict(zip(partitions, epochs, strict=True))
    return owned


def _read_int32s(reader: Reader) -> list[int]:
    return [reader.int32() for _ in range(reader.compact_count(4))]


def _read_regex(reader: Reader) -> ResolvedRegex:
    topics = _read_strings(reader)
    return ResolvedRegex(topics=frozenset(topics), version=reader.int64(), timestamp_ms=reader.int64())
