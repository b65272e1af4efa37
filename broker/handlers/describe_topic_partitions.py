"""DescribeTopicPartitions (75), version 0: partitions of topics page by page, topics in order of their names.

No topics asks for all. ``cursor`` starts in the middle; ``response_partition_limit``, at most
``max.request.partition.size.limit``, ends the page, and ``next_cursor`` says where the next one begins. A topic without
an answer has its error in the page and takes no room in it. The eligible leader replicas are those of KIP-966; when there are
none left either, the last known one is who led last.
"""

from __future__ import annotations

from typing import Any

from broker.cluster.image import TopicImage
from broker.cluster.topic_names import refuse_topic_name
from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.handlers.topology import AUTHORIZED_OPERATIONS_OMITTED, TOPIC_OPERATIONS, view_partitions
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import NO_LEADER

API = ApiKey.DESCRIBE_TOPIC_PARTITIONS


def handle(request: Request, message: Any, services: Services) -> Any:
    known = services.cluster.image.topics_by_name
    names = sorted({topic.name for topic in message.topics} or known)
    first_name, first_partition = "", 0
    if message.cursor is not None:
        first_name, first_partition = message.cursor.topic_name, message.cursor.partition_index
        if first_partition < 0:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, "DescribeTopicPartitionsRequest cursor partition must be valid: -1"
            )
    left = max(1, min(message.response_partition_limit, services.cluster.config.max_request_partition_size_limit))
    answered: list[Any] = []
    for name in names:
        if name < first_name:
            continue
        topic = known.get(name)
        if topic is None:
            answered.append(_unknown(name))
            continue
        start = first_partition if name == first_name else 0
        stop = min(start + left, len(topic.partitions))
        if left == 0:
            return _response(answered, name, start)
        if start < stop:
            answered.append(_known(topic, range(start, stop), services))
            left -= stop - start
        if stop < len(topic.partitions):
            return _response(answered, name, stop)
    return _response(answered, None, 0)


def _response(topics: list[Any], next_topic: str | None, next_partition: int) -> Any:
    cursor = None
    if next_topic is not None:
        cursor = m.DescribeTopicPartitionsResponse.Cursor(topic_name=next_topic, partition_index=next_partition)
    return m.DescribeTopicPartitionsResponse(topics=topics, next_cursor=cursor)


def _known(topic: TopicImage, page: range, services: Services) -> Any:
    partitions = []
    images = topic.partitions[page.start : page.stop]
    for index, image, view in zip(page, images, view_partitions(images, services), strict=True):
        last_known = [image.last_known_leader] if image.last_known_leader != NO_LEADER and not image.elr else []
        partitions.append(
            m.DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition(
                error_code=view.error_code,
                partition_index=index,
                leader_id=view.leader_id,
                leader_epoch=view.leader_epoch,
                replica_nodes=view.replicas,
                isr_nodes=view.isr,
                eligible_leader_replicas=image.elr,
                last_known_elr=last_known,
                offline_replicas=view.offline,
            )
        )
    return m.DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic(
        error_code=ErrorCode.NONE,
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.internal,
        partitions=partitions,
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _unknown(name: str) -> Any:
    invalid = refuse_topic_name(name) is not None
    return m.DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic(
        error_code=ErrorCode.INVALID_TOPIC_EXCEPTION if invalid else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        name=name,
        partitions=[],
        topic_authorized_operations=AUTHORIZED_OPERATIONS_OMITTED,
    )
