"""OffsetDelete v0 (never flexible): forget committed offsets of topics the group does not read any more.

A topic that a member is subscribed to is GROUP_SUBSCRIBED_TO_TOPIC for each of its partitions; a group with members that
does not speak the consumer protocol is NON_EMPTY_GROUP as a whole, because nobody can tell what it reads.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.OFFSET_DELETE


async def handle(request: Request, message: Any, services: Services) -> Any:
    asked = [(topic.name, partition.partition_index) for topic in message.topics for partition in topic.partitions]
    wanted = [(topic, index) for topic, index in dict.fromkeys(asked) if _exists(topic, index, services)]
    try:
        reply = await services.groups.delete_offsets(message.group_id, wanted)
    except KafkaError as error:
        return m.OffsetDeleteResponse(error_code=int(error.code), topics=[])
    if reply.error is not ErrorCode.NONE:
        return m.OffsetDeleteResponse(error_code=int(reply.error), topics=[])
    errors = dict(zip(wanted, reply.errors, strict=True))
    return m.OffsetDeleteResponse(
        topics=[
            m.OffsetDeleteResponse.OffsetDeleteResponseTopic(
                name=topic.name,
                partitions=[
                    m.OffsetDeleteResponse.OffsetDeleteResponsePartition(
                        partition_index=partition.partition_index,
                        error_code=int(
                            errors.get((topic.name, partition.partition_index), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                        ),
                    )
                    for partition in topic.partitions
                ],
            )
            for topic in message.topics
        ]
    )


def _exists(topic: str, index: int, services: Services) -> bool:
    return services.cluster.image.partition(topic, index) is not None
