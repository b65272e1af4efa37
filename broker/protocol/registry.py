"""Which APIs and versions this broker speaks.

Owns the one table that ApiVersions advertises and the pipeline admits by. A range is listed only if every version
in it is fully implemented: clients guess a broker's release from it and use what they see.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.protocol.api import PRIVATE_API_KEY_MIN, ApiKey

NEVER_FLEXIBLE = 1 << 15


@dataclass(frozen=True, slots=True)
class ApiSpec:
    """``min_version ≤ version ≤ max_version``, both inclusive."""

    key: int
    name: str
    """Kafka's name, e.g. ``ListOffsets``."""
    min_version: int
    max_version: int
    flexible_from: int
    """First version with compact encoding and tagged fields, whether served or not; ``NEVER_FLEXIBLE`` if none."""
    internal: bool = False
    """Exists only on the internal listener; never advertised."""


SERVED: dict[int, ApiSpec] = {
    spec.key: spec
    for spec in (
        ApiSpec(ApiKey.PRODUCE, "Produce", 3, 13, 9),
        ApiSpec(ApiKey.FETCH, "Fetch", 4, 18, 12),
        ApiSpec(ApiKey.LIST_OFFSETS, "ListOffsets", 1, 11, 6),
        ApiSpec(ApiKey.METADATA, "Metadata", 0, 13, 9),
        ApiSpec(ApiKey.OFFSET_COMMIT, "OffsetCommit", 2, 10, 8),
        ApiSpec(ApiKey.OFFSET_FETCH, "OffsetFetch", 1, 10, 6),
        ApiSpec(ApiKey.FIND_COORDINATOR, "FindCoordinator", 0, 6, 3),
        ApiSpec(ApiKey.JOIN_GROUP, "JoinGroup", 0, 9, 6),
        ApiSpec(ApiKey.HEARTBEAT, "Heartbeat", 0, 4, 4),
        ApiSpec(ApiKey.LEAVE_GROUP, "LeaveGroup", 0, 5, 4),
        ApiSpec(ApiKey.SYNC_GROUP, "SyncGroup", 0, 5, 4),
        ApiSpec(ApiKey.DESCRIBE_GROUPS, "DescribeGroups", 0, 6, 5),
        ApiSpec(ApiKey.LIST_GROUPS, "ListGroups", 0, 5, 3),
        ApiSpec(ApiKey.API_VERSIONS, "ApiVersions", 0, 4, 3),
        ApiSpec(ApiKey.CREATE_TOPICS, "CreateTopics", 2, 7, 5),
        ApiSpec(ApiKey.DELETE_TOPICS, "DeleteTopics", 1, 6, 4),
        ApiSpec(ApiKey.DELETE_RECORDS, "DeleteRecords", 0, 2, 2),
        ApiSpec(ApiKey.INIT_PRODUCER_ID, "InitProducerId", 0, 5, 2),
        ApiSpec(ApiKey.OFFSET_FOR_LEADER_EPOCH, "OffsetForLeaderEpoch", 2, 4, 4),
        ApiSpec(ApiKey.ADD_PARTITIONS_TO_TXN, "AddPartitionsToTxn", 0, 5, 3),
        ApiSpec(ApiKey.ADD_OFFSETS_TO_TXN, "AddOffsetsToTxn", 0, 4, 3),
        ApiSpec(ApiKey.END_TXN, "EndTxn", 0, 5, 3),
        ApiSpec(ApiKey.WRITE_TXN_MARKERS, "WriteTxnMarkers", 1, 2, 1),
        ApiSpec(ApiKey.TXN_OFFSET_COMMIT, "TxnOffsetCommit", 0, 5, 3),
        ApiSpec(ApiKey.DESCRIBE_CONFIGS, "DescribeConfigs", 1, 4, 4),
        ApiSpec(ApiKey.ALTER_CONFIGS, "AlterConfigs", 0, 2, 2),
        ApiSpec(ApiKey.DESCRIBE_LOG_DIRS, "DescribeLogDirs", 1, 5, 2),
        ApiSpec(ApiKey.CREATE_PARTITIONS, "CreatePartitions", 0, 3, 2),
        ApiSpec(ApiKey.DELETE_GROUPS, "DeleteGroups", 0, 2, 2),
        ApiSpec(ApiKey.ELECT_LEADERS, "ElectLeaders", 0, 2, 2),
        ApiSpec(ApiKey.ALTER_PARTITION_REASSIGNMENTS, "AlterPartitionReassignments", 0, 1, 0),
        ApiSpec(ApiKey.LIST_PARTITION_REASSIGNMENTS, "ListPartitionReassignments", 0, 0, 0),
        ApiSpec(ApiKey.INCREMENTAL_ALTER_CONFIGS, "IncrementalAlterConfigs", 0, 1, 1),
        ApiSpec(ApiKey.OFFSET_DELETE, "OffsetDelete", 0, 0, NEVER_FLEXIBLE),
        ApiSpec(ApiKey.UPDATE_FEATURES, "UpdateFeatures", 0, 2, 0),
        ApiSpec(ApiKey.DESCRIBE_CLUSTER, "DescribeCluster", 0, 2, 0),
        ApiSpec(ApiKey.DESCRIBE_PRODUCERS, "DescribeProducers", 0, 0, 0),
        ApiSpec(ApiKey.UNREGISTER_BROKER, "UnregisterBroker", 0, 0, 0),
        ApiSpec(ApiKey.DESCRIBE_TRANSACTIONS, "DescribeTransactions", 0, 0, 0),
        ApiSpec(ApiKey.LIST_TRANSACTIONS, "ListTransactions", 0, 2, 0),
        ApiSpec(ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, "GetTelemetrySubscriptions", 0, 0, 0),
        ApiSpec(ApiKey.PUSH_TELEMETRY, "PushTelemetry", 0, 0, 0),
        ApiSpec(ApiKey.LIST_CONFIG_RESOURCES, "ListConfigResources", 0, 1, 0),
        ApiSpec(ApiKey.CONSUMER_GROUP_HEARTBEAT, "ConsumerGroupHeartbeat", 0, 1, 0),
        ApiSpec(ApiKey.CONSUMER_GROUP_DESCRIBE, "ConsumerGroupDescribe", 0, 1, 0),
        ApiSpec(ApiKey.DESCRIBE_TOPIC_PARTITIONS, "DescribeTopicPartitions", 0, 0, 0),
        ApiSpec(ApiKey.ALTER_PARTITION, "AlterPartition", 3, 3, 0, internal=True),
        ApiSpec(ApiKey.AUTHENTICATE, "Authenticate", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.TELEMETRY, "Telemetry", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.SEGMENT_INVENTORY, "SegmentInventory", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.APPLY_RETENTION, "ApplyRetention", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.CONNECTIONS, "Connections", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.DISCONNECT, "Disconnect", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.COMPACTION_INVENTORY, "CompactionInventory", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.ACTIVE_PRODUCERS, "ActiveProducers", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.SWAP_SEGMENTS, "SwapSegments", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.CLIENT_METRICS, "ClientMetrics", 0, 0, NEVER_FLEXIBLE, internal=True),
        ApiSpec(ApiKey.BROKER_STATE, "BrokerState", 0, 0, NEVER_FLEXIBLE, internal=True),
    )
}

PRODUCE_ADVERTISED_MIN = 0
"""librdkafka before 2.11.1 drops compression silently unless Produce v0 is advertised (KAFKA-18659); Kafka does so too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A behaviour clients switch on by what the cluster has agreed on, not by API versions."""

    name: str
    min_level: int
    max_level: int
    level: int
    """Finalised: what clients may rely on."""


FEATURES = (
    Feature(name="group.version", min_level=0, max_level=1, level=1),
    Feature(name="transaction.version", min_level=0, max_level=2, level=2),
)
"""Groups of version 1: the consumer protocol (KIP-848).
Transactions of version 2 (KIP-890): Produce and TxnOffsetCommit add partitions by themselves, every end raises the epoch.

A feature is listed only with the whole behaviour behind it, on every broker: clients that rely on half of it corrupt data."""

INTERNAL_KEYS = frozenset(spec.key for spec in SERVED.values() if spec.internal)
"""What a client may not even ask."""
_SERVED_PAIRS = frozenset(
    (spec.key, version) for spec in SERVED.values() for version in range(spec.min_version, spec.max_version + 1)
)
_ONLY_ASKED = {ApiKey.SASL_HANDSHAKE: NEVER_FLEXIBLE}
"""First flexible version of what is not served: refused politely, or asked of other brokers by our client."""
_FLEXIBLE_FROM = _ONLY_ASKED | {spec.key: spec.flexible_from for spec in SERVED.values()}
_KIO_NAMES: dict[int, str] = {key: key.name.lower() for key in ApiKey if key < PRIVATE_API_KEY_MIN}


def served(api_key: int, version: int) -> bool:
    return (api_key, version) in _SERVED_PAIRS


def advertised() -> list[tuple[int, int, int]]:
    """(key, min, max) of every public API, by key: the content of an ApiVersions answer."""
    return [
        (spec.key, PRODUCE_ADVERTISED_MIN if spec.key == ApiKey.PRODUCE else spec.min_version, spec.max_version)
        for spec in sorted(SERVED.values(), key=lambda spec: spec.key)
        if not spec.internal
    ]


def is_flexible(api_key: int, version: int) -> bool:
    """Whether a request of this version has header v2. Unknown keys count as not flexible."""
    return version >= _FLEXIBLE_FROM.get(api_key, NEVER_FLEXIBLE)


def kio_name(api_key: int) -> str:
    """Directory of an API in kio's schemas, e.g. ``list_offsets``. Raises ``LookupError`` for other keys."""
    return _KIO_NAMES[api_key]
