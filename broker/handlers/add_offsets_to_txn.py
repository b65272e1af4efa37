"""AddOffsetsToTxn v0-4: the offsets of a group join a transaction.

Adds the partition of ``__consumer_offsets`` in which the group lives, whose marker then decides on the offsets. v3 is flexible;
before v2 a fenced producer is told INVALID_PRODUCER_EPOCH.
Deviations: waits for the producer's last transaction as AddPartitionsToTxn does. An empty group id is refused.
"""

from __future__ import annotations

from typing import Any

from broker.coordination.partitioner import partition_for
from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.transactions.events import AddPartitions
from broker.types import OFFSETS_TOPIC, TopicPartition

API = ApiKey.ADD_OFFSETS_TO_TXN

_FENCED_SINCE_VERSION = 2


async def handle(request: Request, message: Any, services: Services) -> Any:
    try:
        code = await _add(message, services)
    except KafkaError as error:
        code = error.code
    if code is ErrorCode.PRODUCER_FENCED and request.api_version < _FENCED_SINCE_VERSION:
        code = ErrorCode.INVALID_PRODUCER_EPOCH
    return m.AddOffsetsToTxnResponse(error_code=int(code))


async def _add(message: Any, services: Services) -> ErrorCode:
    if not message.group_id:
        return ErrorCode.INVALID_GROUP_ID
    await services.groups.find(message.group_id)  # the topic exists from here on
    topic = services.cluster.image.topics_by_name[OFFSETS_TOPIC]
    partition = TopicPartition(OFFSETS_TOPIC, partition_for(message.group_id, len(topic.partitions)))
    reply = await services.transactions.add_partitions(
        AddPartitions(
            transactional_id=message.transactional_id,
            producer_id=message.producer_id,
            producer_epoch=message.producer_epoch,
            partitions=frozenset({partition}),
        )
    )
    return reply.errors[partition]
