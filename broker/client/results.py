"""What the client's calls return: frozen values without any wire detail.

Owns: the types only. Numbers keep Kafka's meaning (-1 = unknown or none) and times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from broker.errors import ErrorCode
from broker.types import TopicPartition


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerEndpoint:
    id: int
    host: str
    port: int
    rack: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterDescription:
    cluster_id: str
    controller_id: int
    """-1 when the answering broker knows none."""
    brokers: tuple[BrokerEndpoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionMetadata:
    partition: int
    leader: int
    """-1 when there is none."""
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...]
    error: ErrorCode = ErrorCode.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMetadata:
    name: str
    topic_id: str
    """URL-safe base64 as Kafka's tools print it; empty when the broker has no topic ids."""
    internal: bool
    partitions: tuple[PartitionMetadata, ...]
    error: ErrorCode = ErrorCode.NONE
    """Not NONE when the broker could not describe this topic; then ``partitions`` is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMetadata:
    cluster: ClusterDescription
    topics: tuple[TopicMetadata, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedTopic:
    name: str
    topic_id: str
    partition_count: int
    replication_factor: int
    """Both -1 when the broker is too old to say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSynonym:
    name: str
    value: str | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigEntry:
    name: str
    value: str | None
    """None when sensitive or unset."""
    source: str
    """Kafka's names: DYNAMIC_TOPIC_CONFIG, STATIC_BROKER_CONFIG, DEFAULT_CONFIG …"""
    is_default: bool
    type: str
    """BOOLEAN, STRING, INT, SHORT, LONG, DOUBLE, LIST, CLASS, PASSWORD or UNKNOWN."""
    documentation: str
    read_only: bool
    sensitive: bool
    synonyms: tuple[ConfigSynonym, ...]
    """In order of precedence, the acting one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedOffset:
    partition: int
    offset: int
    """-1 when no record matches (a time after the last record)."""
    timestamp_ms: int
    leader_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: str
    """``CreateTime`` or ``LogAppendTime``."""
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    compression: str
    batch_base_offset: int
    producer_id: int
    size_bytes: int
    """Key, value and headers, uncompressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedBatch:
    """A batch that cannot be opened: a wrong checksum, an unknown codec, more than it may inflate to."""

    base_offset: int
    last_offset: int
    """As its header says, which may be what is damaged."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedRecords:
    """One fetch of one partition. Continue at ``next_offset``: it passes over batches without visible records."""

    records: tuple[Record, ...]
    next_offset: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    damaged: tuple[DamagedBatch, ...] = ()
    """Batches passed over; only where the caller asked to pass over them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupListing:
    group_id: str
    protocol_type: str
    state: str
    """Empty on brokers that do not tell (ListGroups < 4)."""
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    assignment: tuple[TopicPartition, ...]
    """Empty when the group does not speak the consumer protocol."""
    protocol: str = "classic"
    """``classic`` or ``consumer``, or empty when the broker does not tell."""
    epoch: int = -1
    """The next fields are those of a member of a group of type ``consumer``."""
    target: tuple[TopicPartition, ...] = ()
    """What it is to have; ``assignment`` is what it has."""
    topics: tuple[str, ...] = ()
    topic_regex: str = ""
    rack: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDescription:
    group_id: str
    state: str
    protocol_type: str
    protocol: str
    coordinator: int
    members: tuple[GroupMember, ...]
    error: ErrorCode = ErrorCode.NONE
    error_message: str = ""
    type: str = "classic"
    """``classic`` or ``consumer`` (KIP-848)."""
    epoch: int = -1
    """Of a group of type ``consumer``: counts its changes."""
    assignment_epoch: int = -1
    """The epoch its target assignments were made for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedOffset:
    topic: str
    partition: int
    offset: int
    leader_epoch: int
    metadata: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerDescription:
    partition: int
    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    transaction_start_offset: int
    """-1 when no transaction is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedRecords:
    partition: int
    log_start_offset: int
    error: ErrorCode = ErrorCode.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassignment:
    """A move that is under way."""

    replicas: tuple[int, ...]
    """All that have or get a copy now."""
    adding: tuple[int, ...]
    removing: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementOutcome:
    """What became of one partition of a reassignment or an election."""

    error: ErrorCode
    message: str = ""

    @property
    def words(self) -> str:
        """Why it was refused; empty when it was not."""
        return "" if self.error is ErrorCode.NONE else self.message or self.error.message


class ProducedRecord(NamedTuple):
    """Where a record landed; ``offset`` is -1 with acks=0."""

    partition: int
    offset: int


CONFIG_TYPES: Mapping[int, str] = {
    0: "UNKNOWN",
    1: "BOOLEAN",
    2: "STRING",
    3: "INT",
    4: "SHORT",
    5: "LONG",
    6: "DOUBLE",
    7: "LIST",
    8: "CLASS",
    9: "PASSWORD",
}
CONFIG_SOURCES: Mapping[int, str] = {
    0: "UNKNOWN",
    1: "DYNAMIC_TOPIC_CONFIG",
    2: "DYNAMIC_BROKER_CONFIG",
    3: "DYNAMIC_DEFAULT_BROKER_CONFIG",
    4: "STATIC_BROKER_CONFIG",
    5: "DEFAULT_CONFIG",
    6: "DYNAMIC_BROKER_LOGGER_CONFIG",
    7: "DYNAMIC_CLIENT_METRICS_CONFIG",
    8: "DYNAMIC_GROUP_CONFIG",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionListing:
    transactional_id: str
    coordinator: int
    producer_id: int
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionDescription:
    transactional_id: str
    coordinator: int
    producer_id: int
    producer_epoch: int
    state: str
    timeout_ms: int
    start_ms: int
    """-1 when none has begun since the id was given."""
    partitions: tuple[TopicPartition, ...]
