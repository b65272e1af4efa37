"""AlterPartitionReassignments (45), versions 0–1: begin, replace or cancel (null replicas) moves of partitions (KIP-455).

Versions: v1 may forbid that the replication factor changes. The answer comes when the moves have begun; they go on by
themselves, whoever dies, and are complete when all new replicas are in sync.
Deviations: a move begins a new leader epoch, in Kafka only its completion does. A partition named twice in one request is
INVALID_REQUEST.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.reassignment import Reassignment
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.ALTER_PARTITION_REASSIGNMENTS
Response = m.AlterPartitionReassignmentsResponse


async def handle(request: Request, message: Any, services: Services) -> Any:
    asked = [
        Reassignment(topic=topic.name, partition=partition.partition_index, replicas=partition.replicas)
        for topic in message.topics
        for partition in topic.partitions
    ]
    allow = message.allow_replication_factor_change
    results = await services.cluster.reassign(asked, allow_factor_change=allow)
    by_topic: dict[str, list[Any]] = {topic.name: [] for topic in message.topics}
    for result in results:
        by_topic[result.topic].append(
            Response.ReassignablePartitionResponse(
                partition_index=result.partition,
                error_code=ErrorCode.NONE if result.error is None else result.error.code,
                error_message=None if result.error is None else result.error.message,
            )
        )
    return Response(
        allow_replication_factor_change=allow,
        error_message=None,
        responses=[
            Response.ReassignableTopicResponse(name=name, partitions=partitions)
            for name, partitions in by_topic.items()
        ],
    )
