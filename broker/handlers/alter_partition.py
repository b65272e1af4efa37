"""AlterPartition (56), version 3: a leader proposes other in-sync sets to the controller. Internal listener only.

One request carries all proposals of a broker, and they are decided in one transaction. An answer with NONE means that the
partition now is as told there; the proposer applies the same when it arrives through the metadata.
Deviations: asked of a broker that is not controller it is NOT_CONTROLLER, also for a moment after an election.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.isr_changes import IsrOutcome, IsrProposal
from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.ALTER_PARTITION


async def handle(request: Request, message: Any, services: Services) -> Any:
    proposals = [
        IsrProposal(
            topic_id=topic.topic_id,
            partition=partition.partition_index,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            isr=tuple((member.broker_id, member.broker_epoch) for member in partition.new_isr_with_epochs),
        )
        for topic in message.topics
        for partition in topic.partitions
    ]
    try:
        outcomes = await services.cluster.alter_partitions(message.broker_id, message.broker_epoch, proposals)
    except KafkaError as error:
        return m.AlterPartitionResponse(error_code=error.code, topics=[])
    return m.AlterPartitionResponse(error_code=ErrorCode.NONE, topics=_by_topic(outcomes))


def _by_topic(outcomes: tuple[IsrOutcome, ...]) -> list[Any]:
    topics: dict[bytes, list[Any]] = {}
    for outcome in outcomes:
        topics.setdefault(outcome.topic_id, []).append(
            m.AlterPartitionResponse.PartitionData(
                partition_index=outcome.partition,
                error_code=outcome.error,
                leader_id=outcome.leader,
                leader_epoch=outcome.leader_epoch,
                isr=list(outcome.isr),
                partition_epoch=outcome.partition_epoch,
            )
        )
    return [
        m.AlterPartitionResponse.TopicData(topic_id=topic_id, partitions=partitions)
        for topic_id, partitions in topics.items()
    ]
