"""OffsetCommit v2-10: remember how far a group has read.

Versions: v2-4 a retention of the client's own, v6 leader epochs, v7 static members, v8 flexible, v9 GROUP_ID_NOT_FOUND
for a group that does not exist (before: ILLEGAL_GENERATION), v10 topics by id. A topic or partition that does not
exist fails alone; the others are committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.errors import ErrorCode, KafkaError
from broker.groups.events import CommitOffsets, OffsetToCommit
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

if TYPE_CHECKING:
    from broker.cluster.image import TopicImage

API = ApiKey.OFFSET_COMMIT

_RETENTION_UNTIL_VERSION = 4
_GROUP_ID_NOT_FOUND_SINCE_VERSION = 9
_TOPIC_IDS_SINCE_VERSION = 10


async def handle(request: Request, message: Any, services: Services) -> Any:
    by_id = request.api_version >= _TOPIC_IDS_SINCE_VERSION
    offsets: list[OffsetToCommit] = []
    refused: list[list[ErrorCode | None]] = []
    """Per topic and partition why it is not even tried; ``None``: its answer is the next one of the group."""
    for topic in message.topics:
        image = _topic(topic, by_id, services)
        refusals = [_refusal(image, partition.partition_index, by_id) for partition in topic.partitions]
        refused.append(refusals)
        offsets += [
            _offset(image, partition)
            for partition, refusal in zip(topic.partitions, refusals, strict=True)
            if refusal is None
        ]
    errors = iter(await _commit(request, message, tuple(offsets), services))
    return m.OffsetCommitResponse(
        topics=[
            m.OffsetCommitResponse.OffsetCommitResponseTopic(
                **{"topic_id": topic.topic_id} if by_id else {"name": topic.name},
                partitions=[
                    m.OffsetCommitResponse.OffsetCommitResponsePartition(
                        partition_index=partition.partition_index,
                        error_code=int(next(errors) if refusal is None else refusal),
                    )
                    for partition, refusal in zip(topic.partitions, refusals, strict=True)
                ],
            )
            for topic, refusals in zip(message.topics, refused, strict=True)
        ]
    )


def _topic(topic: Any, by_id: bool, services: Services) -> TopicImage | None:
    image = services.cluster.image
    return image.topics_by_id.get(topic.topic_id) if by_id else image.topics_by_name.get(topic.name)


def _refusal(image: TopicImage | None, partition: int, by_id: bool) -> ErrorCode | None:
    if image is None:
        return ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return None if 0 <= partition < len(image.partitions) else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _offset(image: TopicImage | None, partition: Any) -> OffsetToCommit:
    assert image is not None
    return OffsetToCommit(
        topic=image.name,
        partition=partition.partition_index,
        offset=partition.committed_offset,
        leader_epoch=partition.committed_leader_epoch,
        metadata=partition.committed_metadata or "",
        topic_id=image.topic_id,
    )


async def _commit(
    request: Request, message: Any, offsets: tuple[OffsetToCommit, ...], services: Services
) -> tuple[ErrorCode, ...]:
    """An error for each of ``offsets``."""
    if not offsets:
        return ()
    event = CommitOffsets(
        group_id=message.group_id,
        generation=message.generation_id_or_member_epoch,
        member_id=message.member_id,
        instance_id=message.group_instance_id,
        retention_ms=message.retention_time if request.api_version <= _RETENTION_UNTIL_VERSION else -1,
        offsets=offsets,
        knows_group_id_not_found=request.api_version >= _GROUP_ID_NOT_FOUND_SINCE_VERSION,
    )
    try:
        reply = await services.groups.commit_offsets(event)
    except KafkaError as error:
        return (error.code,) * len(offsets)
    return reply.errors if reply.error is ErrorCode.NONE else (reply.error,) * len(offsets)
