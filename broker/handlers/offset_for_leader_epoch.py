"""OffsetForLeaderEpoch v2–4: where a leader epoch ended, so that a client can notice truncation (KIP-320).

Versions: v2 current leader epoch, v3 replica id, v4 flexible. The answer is the end offset of the largest epoch that
is not newer than the one asked for, or -1/-1 when there is none.
Deviations: none.
"""

from __future__ import annotations

from typing import Any

from broker.errors import KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.OFFSET_FOR_LEADER_EPOCH


def handle(request: Request, message: Any, services: Services) -> Any:
    return m.OffsetForLeaderEpochResponse(
        topics=[
            m.OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult(
                topic=topic.topic, partitions=[_partition(topic.topic, entry, services) for entry in topic.partitions]
            )
            for topic in message.topics
        ]
    )


def _partition(topic: str, entry: Any, services: Services) -> Any:
    try:
        partition = services.partitions.get(topic, entry.partition)
        refusal = partition.state.epoch_refusal(entry.current_leader_epoch)
        if refusal is not None:
            raise KafkaError(refusal)
        epoch, end_offset = partition.log.end_offset_for_epoch(entry.leader_epoch)
    except KafkaError as error:
        return m.OffsetForLeaderEpochResponse.EpochEndOffset(partition=entry.partition, error_code=int(error.code))
    return m.OffsetForLeaderEpochResponse.EpochEndOffset(
        partition=entry.partition, leader_epoch=epoch, end_offset=end_offset
    )
