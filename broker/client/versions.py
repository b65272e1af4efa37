"""Which version of an API a connection speaks.

Owns: the ranges this client is written for and the choice of the highest version both sides know. A range
ends before the version that replaces topic *names* by topic *ids* where the client addresses topics by name
(Produce 13, Fetch 13, DeleteTopics 6, OffsetCommit 10, OffsetFetch 10) and before FindCoordinator's batched form (4): every
broker since 2.4 up to today's serves something inside these ranges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from broker.errors import ErrorCode, KafkaError
from broker.protocol.api import ApiKey

CLIENT_VERSIONS: Mapping[int, tuple[int, int]] = {
    ApiKey.PRODUCE: (3, 12),
    ApiKey.FETCH: (4, 12),
    ApiKey.LIST_OFFSETS: (1, 10),
    ApiKey.METADATA: (1, 13),
    ApiKey.OFFSET_COMMIT: (2, 9),
    ApiKey.OFFSET_FETCH: (2, 9),
    ApiKey.FIND_COORDINATOR: (0, 3),
    ApiKey.DESCRIBE_GROUPS: (0, 6),
    ApiKey.LIST_GROUPS: (0, 5),
    ApiKey.API_VERSIONS: (0, 3),
    ApiKey.CREATE_TOPICS: (2, 7),
    ApiKey.DELETE_TOPICS: (1, 5),
    ApiKey.DELETE_RECORDS: (0, 2),
    ApiKey.INIT_PRODUCER_ID: (0, 5),
    ApiKey.WRITE_TXN_MARKERS: (1, 2),
    ApiKey.DESCRIBE_CONFIGS: (1, 4),
    ApiKey.CREATE_PARTITIONS: (0, 3),
    ApiKey.DELETE_GROUPS: (0, 2),
    ApiKey.INCREMENTAL_ALTER_CONFIGS: (0, 1),
    ApiKey.DESCRIBE_LOG_DIRS: (1, 4),
    ApiKey.ELECT_LEADERS: (1, 2),
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: (0, 1),
    ApiKey.LIST_PARTITION_REASSIGNMENTS: (0, 0),
    ApiKey.OFFSET_DELETE: (0, 0),
    ApiKey.DESCRIBE_PRODUCERS: (0, 0),
    ApiKey.DESCRIBE_TRANSACTIONS: (0, 0),
    ApiKey.LIST_TRANSACTIONS: (0, 2),
    ApiKey.CONSUMER_GROUP_DESCRIBE: (0, 1),
    ApiKey.UNREGISTER_BROKER: (0, 0),
    ApiKey.LIST_CONFIG_RESOURCES: (1, 1),
}


def negotiate(advertised: Iterable[tuple[int, int, int]]) -> dict[int, int]:
    """``(key, min, max)`` of the broker → version to speak per key; keys without a common version are absent."""
    chosen: dict[int, int] = {}
    for key, broker_min, broker_max in advertised:
        ours = CLIENT_VERSIONS.get(key)
        if ours is None:
            continue
        version = min(ours[1], broker_max)
        if version >= max(ours[0], broker_min):
            chosen[key] = version
    return chosen


def require_version(chosen: Mapping[int, int], api_key: int) -> int:
    version = chosen.get(api_key)
    if version is None:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_VERSION, f"this broker does not offer {ApiKey(api_key).name} in a version we speak"
        )
    return version
