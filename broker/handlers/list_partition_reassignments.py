"""ListPartitionReassignments (46), version 0: the partitions that are on their way to other brokers.

Versions: v0, flexible. Null asks for all; a partition that is not moving is left out, also one that does not exist.
Deviations: none.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.reassignment import reassignments_of
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.LIST_PARTITION_REASSIGNMENTS
Response = m.ListPartitionReassignmentsResponse


def handle(request: Request, message: Any, services: Services) -> Any:
    known = services.cluster.image.topics_by_name
    wanted: dict[str, set[int] | None] = dict.fromkeys(known)
    if message.topics is not None:
        wanted = {topic.name: set(topic.partition_indexes) for topic in message.topics if topic.name in known}
    topics = []
    for name, indexes in wanted.items():
        moving = [
            Response.OngoingPartitionReassignment(
                partition_index=index,
                replicas=list(partition.replicas),
                adding_replicas=list(partition.adding),
                removing_replicas=list(partition.removing),
            )
            for index, partition in reassignments_of(known[name])
            if indexes is None or index in indexes
        ]
        if moving:
            topics.append(Response.OngoingTopicReassignment(name=name, partitions=moving))
    return Response(error_message=None, topics=topics)
