"""ElectLeaders (43), versions 0–2: have the preferred replica, or any that is left, lead.

Versions: v1 unclean elections and a top-level error, v2 flexible. Null asks for all partitions; those that need no
election are then left out of the answer.
Deviations: elections happen by themselves as soon as they can (``cluster/election.py``), so the answer is always why there
is none: ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE or ELIGIBLE_LEADERS_NOT_AVAILABLE. A replica that is not in
sync never leads, whatever is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker.cluster.election import refuse_election
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.ELECT_LEADERS

PREFERRED, UNCLEAN = 0, 1


def handle(request: Request, message: Any, services: Services) -> Any:
    if message.election_type not in (PREFERRED, UNCLEAN):
        return m.ElectLeadersResponse(error_code=ErrorCode.INVALID_REQUEST)
    unclean = message.election_type == UNCLEAN
    image = services.cluster.image
    everything = message.topic_partitions is None
    asked: Iterable[tuple[str, Iterable[int]]]
    if everything:
        asked = [(topic.name, range(len(topic.partitions))) for topic in image.topics_by_name.values()]
    else:
        asked = [(topic.topic, topic.partitions) for topic in message.topic_partitions]
    results = []
    for name, indexes in asked:
        answers = [(index, refuse_election(image, name, index, unclean=unclean)) for index in indexes]
        partitions = [
            m.ElectLeadersResponse.PartitionResult(
                partition_id=index, error_code=refusal.code, error_message=refusal.message
            )
            for index, refusal in answers
            if not (everything and refusal.code is ErrorCode.ELECTION_NOT_NEEDED)
        ]
        if partitions or not everything:
            results.append(m.ElectLeadersResponse.ReplicaElectionResult(topic=name, partition_result=partitions))
    return m.ElectLeadersResponse(replica_election_results=results)
