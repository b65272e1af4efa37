"""Metadata (3), versions 0–13: brokers, and topics with their partitions and leaders.

v0 ``[]`` asks for all topics; from v1 null does and ``[]`` asks for none. v4 may forbid auto-creation; v7 leader epochs;
v8–10 cluster and v8+ topic operations on request; v10 topic ids; v12 topics asked by id; v13 a top-level error.

``controller_id`` is a live broker always; every broker serves admin requests.

Deviations: A topic created because it was asked for is in *this* answer with its leaders. Kafka answers
UNKNOWN_TOPIC_OR_PARTITION first, and its clients wait out a back-off before they ask again. A partition that is offline on
its leader's disk keeps its leader here, so that Produce and Fetch reach it and are told KAFKA_STORAGE_ERROR. Kafka names no
leader, and its clients wait without a reason. Brokers are told also where the request itself was refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from broker.cluster.image import TopicImage
from broker.cluster.topic_names import refuse_topic_name
from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.handlers.topology import (
    AUTHORIZED_OPERATIONS_OMITTED,
    CLUSTER_OPERATIONS,
    TOPIC_OPERATIONS,
    controller_id,
    endpoints,
    view_partitions,
)
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import INTERNAL_TOPICS, ZERO_TOPIC_ID

API = ApiKey.METADATA


def handle(request: Request, message: Any, services: Services) -> Any | Awaitable[Any]:
    topics = message.topics
    if topics is None or (request.api_version == 0 and not topics):
        found = [_known(topic, message, services) for topic in services.cluster.image.topics_by_name.values()]
        return _response(request, message, services, found)
    missing = _to_create(request, topics, message, services)
    if missing:
        return _create_and_answer(request, message, services, missing)
    return _answer(request, message, services, {})


async def _create_and_answer(request: Request, message: Any, services: Services, missing: Sequence[str]) -> Any:
    try:
        outcomes: Mapping[str, KafkaError | None] = await services.cluster.create_topics_automatically(missing)
    except KafkaError:  # the store is away; the topics may exist in a moment
        outcomes = dict.fromkeys(missing, KafkaError(ErrorCode.LEADER_NOT_AVAILABLE))
    return _answer(request, message, services, outcomes)


def _to_create(request: Request, topics: Sequence[Any], message: Any, services: Services) -> list[str]:
    if not (message.allow_auto_topic_creation and services.cluster.config.auto_create_topics_enable):
        return []
    known = services.cluster.image.topics_by_name
    return [
        topic.name
        for topic in topics
        if topic.name is not None and topic.topic_id == ZERO_TOPIC_ID and topic.name not in known
    ]


def _answer(request: Request, message: Any, services: Services, outcomes: Mapping[str, KafkaError | None]) -> Any:
    image = services.cluster.image
    answered = []
    asked: set[tuple[str | None, bytes]] = set()
    for topic in message.topics:
        if (topic.name, topic.topic_id) in asked:
            continue
        asked.add((topic.name, topic.topic_id))
        if topic.topic_id != ZERO_TOPIC_ID:
            found = image.topics_by_id.get(topic.topic_id)
            error = ErrorCode.UNKNOWN_TOPIC_ID if request.api_version >= 12 else ErrorCode.INVALID_REQUEST
            if request.api_version < 12:
                found = None  # ids are on the wire since v10 but mean something only since v12
        elif topic.name is None:
            found, error = None, ErrorCode.INVALID_REQUEST
        else:
            found = image.topics_by_name.get(topic.name)
            error = _why_missing(topic.name, outcomes)
        if found is not None:
            answered.append(_known(found, message, services))
        else:
            answered.append(_unknown(request, topic, error))
    return _response(request, message, services, answered)


def _why_missing(name: str, outcomes: Mapping[str, KafkaError | None]) -> ErrorCode:
    if refuse_topic_name(name) is not None:
        return ErrorCode.INVALID_TOPIC_EXCEPTION
    outcome = outcomes.get(name)
    return outcome.code if outcome is not None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _known(topic: TopicImage, message: Any, services: Services) -> Any:
    Partition = m.MetadataResponse.MetadataResponsePartition
    return m.MetadataResponse.MetadataResponseTopic(
        error_code=ErrorCode.NONE,
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.internal,
        partitions=[
            Partition(
                error_code=error_code,
                partition_index=index,
                leader_id=leader_id,
                leader_epoch=leader_epoch,
                replica_nodes=replicas,
                isr_nodes=isr,
                offline_replicas=offline,
            )
            for index, (error_code, leader_id, leader_epoch, replicas, isr, offline) in enumerate(
                view_partitions(topic.partitions, services)
            )
        ],
        topic_authorized_operations=TOPIC_OPERATIONS
        if message.include_topic_authorized_operations
        else AUTHORIZED_OPERATIONS_OMITTED,
    )


def _unknown(request: Request, topic: Any, error: ErrorCode) -> Any:
    # Before v12 a name may not be null.
    name = topic.name if topic.name is not None or request.api_version >= 12 else ""
    return m.MetadataResponse.MetadataResponseTopic(
        error_code=error,
        name=name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=[],
        topic_authorized_operations=AUTHORIZED_OPERATIONS_OMITTED,
    )


def _response(request: Request, message: Any, services: Services, topics: list[Any]) -> Any:
    return m.MetadataResponse(
        brokers=[
            m.MetadataResponse.MetadataResponseBroker(
                node_id=endpoint.id, host=endpoint.host, port=endpoint.port, rack=endpoint.rack
            )
            for endpoint in endpoints(request, services)
        ],
        cluster_id=services.cluster_id,
        controller_id=controller_id(services),
        topics=topics,
        cluster_authorized_operations=CLUSTER_OPERATIONS
        if message.include_cluster_authorized_operations
        else AUTHORIZED_OPERATIONS_OMITTED,
    )
