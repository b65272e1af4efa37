"""ElectLeaders (43), versions 0–2: have the preferred replica lead, or anybody where nobody certain is left.

Versions: v1 unclean elections and a top-level error, v2 flexible. Null asks for all partitions; those that need no
election are then left out of the answer. Whoever has to lead is elected without being asked; an unclean election may lose
acknowledged records, and every broker says so in its log.
Deviations: a draining broker is not elected as preferred leader (PREFERRED_LEADER_NOT_AVAILABLE).
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.ELECT_LEADERS

PREFERRED, UNCLEAN = 0, 1


async def handle(request: Request, message: Any, services: Services) -> Any:
    if message.election_type not in (PREFERRED, UNCLEAN):
        return m.ElectLeadersResponse(error_code=ErrorCode.INVALID_REQUEST)
    asked = None
    if message.topic_partitions is not None:
        asked = [(topic.topic, topic.partitions) for topic in message.topic_partitions]
    results = await services.cluster.elect_leaders(asked, unclean=message.election_type == UNCLEAN)
    by_topic: dict[str, list[Any]] = {} if asked is None else {name: [] for name, _ in asked}
    for result in results:
        by_topic.setdefault(result.topic, []).append(
            m.ElectLeadersResponse.PartitionResult(
                partition_id=result.partition,
                error_code=ErrorCode.NONE if result.error is None else result.error.code,
                error_message=None if result.error is None else result.error.message,
            )
        )
    return m.ElectLeadersResponse(
        replica_election_results=[
            m.ElectLeadersResponse.ReplicaElectionResult(topic=name, partition_result=partitions)
            for name, partitions in by_topic.items()
        ]
    )
