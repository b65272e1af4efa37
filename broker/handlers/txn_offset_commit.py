"""TxnOffsetCommit v0-5: offsets that come into force when the producer's transaction is committed.

Versions: v2 leader epochs, v3 flexible and the consumer's generation, member and instance id (KIP-447), v4
TRANSACTION_ABORTABLE, v5 the group's partition joins the transaction by being written to (KIP-890); before it must have
been added by AddOffsetsToTxn, which is verified unless ``transaction.partition.verification.enable`` is off. A topic or
partition that does not exist fails alone; what concerns the group or the producer is said of every other partition.
"""

from __future__ import annotations

from typing import Any

from broker.coordination.transaction import TransactionalProducer
from broker.errors import ErrorCode, KafkaError
from broker.groups.events import CommitOffsets, CommitOffsetsInTransaction, OffsetToCommit
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import TopicPartition

API = ApiKey.TXN_OFFSET_COMMIT

_LOADING_SINCE_VERSION = 2
"""Clients before 2.3 may die of COORDINATOR_LOAD_IN_PROGRESS."""
_ABORTABLE_SINCE_VERSION = 4
_IMPLICIT_SINCE_VERSION = 5


async def handle(request: Request, message: Any, services: Services) -> Any:
    known = [_known(topic, services) for topic in message.topics]
    offsets = tuple(offset for topic in known for offset in topic if offset is not None)
    errors = iter(await _commit(request, message, offsets, services) if offsets else ())
    response = m.TxnOffsetCommitResponse
    return response(
        topics=[
            response.TxnOffsetCommitResponseTopic(
                name=topic.name,
                partitions=[
                    response.TxnOffsetCommitResponsePartition(
                        partition_index=partition.partition_index,
                        error_code=int(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if offset is None else next(errors)),
                    )
                    for partition, offset in zip(topic.partitions, found, strict=True)
                ],
            )
            for topic, found in zip(message.topics, known, strict=True)
        ]
    )


def _known(topic: Any, services: Services) -> list[OffsetToCommit | None]:
    """``None`` for each partition that does not exist."""
    image = services.cluster.image.topics_by_name.get(topic.name)
    if image is None:
        return [None] * len(topic.partitions)
    return [
        OffsetToCommit(
            topic=topic.name,
            partition=partition.partition_index,
            offset=partition.committed_offset,
            leader_epoch=partition.committed_leader_epoch,
            metadata=partition.committed_metadata or "",
            topic_id=image.topic_id,
        )
        if 0 <= partition.partition_index < len(image.partitions)
        else None
        for partition in topic.partitions
    ]


async def _commit(
    request: Request, message: Any, offsets: tuple[OffsetToCommit, ...], services: Services
) -> tuple[ErrorCode, ...]:
    """An error for each of ``offsets``."""

    async def verify(partition: TopicPartition) -> ErrorCode:
        answer = await services.gate.verify(
            message.transactional_id,
            message.producer_id,
            message.producer_epoch,
            [partition],
            add=request.api_version >= _IMPLICIT_SINCE_VERSION,
        )
        return answer[partition]

    event = CommitOffsetsInTransaction(
        producer=TransactionalProducer(producer_id=message.producer_id, producer_epoch=message.producer_epoch),
        commit=CommitOffsets(
            group_id=message.group_id,
            generation=message.generation_id,
            member_id=message.member_id,
            instance_id=message.group_instance_id,
            offsets=offsets,
        ),
    )
    try:
        reply = await services.groups.commit_transactional_offsets(event, verify)
    except KafkaError as error:
        return (_told(error.code, request.api_version),) * len(offsets)
    if reply.error is not ErrorCode.NONE:
        return (_told(reply.error, request.api_version),) * len(offsets)
    return reply.errors


def _told(error: ErrorCode, version: int) -> ErrorCode:
    """What a client of this version understands."""
    if error is ErrorCode.CONCURRENT_TRANSACTIONS and version < _IMPLICIT_SINCE_VERSION:
        error = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    if error is ErrorCode.TRANSACTION_ABORTABLE and version < _ABORTABLE_SINCE_VERSION:
        error = ErrorCode.INVALID_TXN_STATE
    if error is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS and version < _LOADING_SINCE_VERSION:
        error = ErrorCode.COORDINATOR_NOT_AVAILABLE
    return error
