"""A Metadata response as values."""

from __future__ import annotations

from typing import Any

from broker.client.errors import error_code
from broker.client.results import (
    BrokerEndpoint,
    ClusterDescription,
    ClusterMetadata,
    PartitionMetadata,
    TopicMetadata,
)
from broker.errors import ErrorCode
from broker.types import ZERO_TOPIC_ID, format_topic_id

_NO_LEADER_ERRORS = frozenset({ErrorCode.LEADER_NOT_AVAILABLE, ErrorCode.LISTENER_NOT_FOUND})


def read_metadata(response: Any) -> ClusterMetadata:
    return ClusterMetadata(
        cluster=ClusterDescription(
            cluster_id=response.cluster_id or "",
            controller_id=response.controller_id,
            brokers=tuple(
                BrokerEndpoint(id=broker.node_id, host=broker.host, port=broker.port, rack=broker.rack)
                for broker in response.brokers
            ),
        ),
        topics=tuple(_read_topic(topic) for topic in response.topics),
    )


def _read_topic(topic: Any) -> TopicMetadata:
    topic_id = topic.topic_id or ZERO_TOPIC_ID
    return TopicMetadata(
        name=topic.name or "",
        topic_id="" if topic_id == ZERO_TOPIC_ID else format_topic_id(topic_id),
        internal=topic.is_internal,
        partitions=tuple(
            sorted((_read_partition(partition) for partition in topic.partitions), key=lambda p: p.partition)
        ),
        error=error_code(topic.error_code),
    )


def _read_partition(partition: Any) -> PartitionMetadata:
    error = error_code(partition.error_code)
    return PartitionMetadata(
        partition=partition.partition_index,
        leader=-1 if error in _NO_LEADER_ERRORS else partition.leader_id,
        leader_epoch=partition.leader_epoch,
        replicas=tuple(partition.replica_nodes),
        isr=tuple(partition.isr_nodes),
        offline_replicas=tuple(partition.offline_replicas),
        error=error,
    )
