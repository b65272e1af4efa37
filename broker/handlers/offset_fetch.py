"""OffsetFetch v1-10: how far groups have read.

Versions: v2 null topics = all and a top-level error, v5 leader epochs, v6 flexible, v7 require_stable, v8 several
groups, v9 member id and epoch (held to in groups of the consumer protocol: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH;
ignored for classic ones), v10 topics by id. A partition
nobody committed is offset -1 with empty metadata and no error. Under require_stable a partition with an offset pending
in an open transaction is UNSTABLE_OFFSET_COMMIT.
"""

from __future__ import annotations

import asyncio
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.groups.events import FetchedOffset
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import NO_EPOCH, ZERO_TOPIC_ID

API = ApiKey.OFFSET_FETCH

_ERROR_SINCE_VERSION = 2
_GROUPS_SINCE_VERSION = 8
_TOPIC_IDS_SINCE_VERSION = 10


async def handle(request: Request, message: Any, services: Services) -> Any:
    if request.api_version < _GROUPS_SINCE_VERSION:
        return await _one_group(request, message, services)
    by_id = request.api_version >= _TOPIC_IDS_SINCE_VERSION
    stable = bool(message.require_stable)
    groups = await asyncio.gather(*(_group(group, by_id, stable, services) for group in message.groups))
    return m.OffsetFetchResponse(groups=list(groups))


# Before v8 -------------------------------------------------------------------------------------------


async def _one_group(request: Request, message: Any, services: Services) -> Any:
    wanted = None
    if message.topics is not None:
        wanted = [(topic.name, index) for topic in message.topics for index in topic.partition_indexes]
    try:
        found = await services.groups.fetch_offsets(
            message.group_id, wanted, require_stable=bool(message.require_stable)
        )
    except KafkaError as error:
        if request.api_version >= _ERROR_SINCE_VERSION:
            return m.OffsetFetchResponse(error_code=int(error.code), topics=[])
        unknown = [FetchedOffset(topic=topic, partition=index) for topic, index in wanted or ()]
        return m.OffsetFetchResponse(topics=_topics_by_name(unknown, error.code))
    return m.OffsetFetchResponse(topics=_topics_by_name(found, ErrorCode.NONE))


def _topics_by_name(found: list[FetchedOffset], error: ErrorCode) -> list[Any]:
    return [
        m.OffsetFetchResponse.OffsetFetchResponseTopic(
            name=topic,
            partitions=[
                m.OffsetFetchResponse.OffsetFetchResponsePartition(
                    partition_index=item.partition,
                    committed_offset=item.offset,
                    committed_leader_epoch=item.leader_epoch,
                    metadata=item.metadata,
                    error_code=int(error or item.error),
                )
                for item in items
            ],
        )
        for topic, items in _by_topic(found).items()
    ]


# Since v8 --------------------------------------------------------------------------------------------


async def _group(group: Any, by_id: bool, require_stable: bool, services: Services) -> Any:
    response = m.OffsetFetchResponse.OffsetFetchResponseGroup
    names, unknown_ids = _names(group, by_id, services)
    wanted = None
    if group.topics is not None:
        wanted = [(name, index) for name, topic in names for index in topic.partition_indexes]
    try:
        found = await services.groups.fetch_offsets(
            group.group_id,
            wanted,
            require_stable=require_stable,
            member_id=group.member_id,
            member_epoch=NO_EPOCH if group.member_epoch is None else group.member_epoch,
        )
    except KafkaError as error:
        return response(group_id=group.group_id, topics=[], error_code=int(error.code))
    topics = [
        topic for name, items in _by_topic(found).items() if (topic := _topic(name, items, by_id, services)) is not None
    ]
    topics += [_unknown(topic) for topic in unknown_ids]
    return response(group_id=group.group_id, topics=topics)


def _names(group: Any, by_id: bool, services: Services) -> tuple[list[tuple[str, Any]], list[Any]]:
    """(name, topic) of the topics asked for, and those whose id nobody knows."""
    if not by_id:
        return [(topic.name, topic) for topic in group.topics or ()], []
    names, unknown = [], []
    for topic in group.topics or ():
        image = services.cluster.image.topics_by_id.get(topic.topic_id)
        if image is None:
            unknown.append(topic)
        else:
            names.append((image.name, topic))
    return names, unknown


def _topic(name: str, items: list[FetchedOffset], by_id: bool, services: Services) -> Any:
    """``None`` for a topic that has offsets but, asked for by id, has none any more."""
    identity: dict[str, Any] = {"name": name}
    if by_id:
        image = services.cluster.image.topics_by_name.get(name)
        if image is None:
            return None
        identity = {"topic_id": image.topic_id}
    return m.OffsetFetchResponse.OffsetFetchResponseTopics(
        **identity,
        partitions=[_partition(item.partition, item, item.error) for item in items],
    )


def _unknown(topic: Any) -> Any:
    return m.OffsetFetchResponse.OffsetFetchResponseTopics(
        topic_id=topic.topic_id or ZERO_TOPIC_ID,
        partitions=[
            _partition(index, FetchedOffset(topic="", partition=index), ErrorCode.UNKNOWN_TOPIC_ID)
            for index in topic.partition_indexes
        ],
    )


def _partition(index: int, item: FetchedOffset, error: ErrorCode) -> Any:
    return m.OffsetFetchResponse.OffsetFetchResponsePartitions(
        partition_index=index,
        committed_offset=item.offset,
        committed_leader_epoch=item.leader_epoch,
        metadata=item.metadata,
        error_code=int(error),
    )


def _by_topic(found: list[FetchedOffset]) -> dict[str, list[FetchedOffset]]:
    topics: dict[str, list[FetchedOffset]] = {}
    for item in found:
        topics.setdefault(item.topic, []).append(item)
    return topics
