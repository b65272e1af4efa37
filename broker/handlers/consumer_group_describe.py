"""ConsumerGroupDescribe v0-1: epochs, members, and who has and is to have what, of groups of the consumer protocol.

Versions: v1 says of each member whether it speaks the classic or the consumer protocol. A classic group, like one
that does not exist, is GROUP_ID_NOT_FOUND: DescribeGroups knows it. Without an authorizer everybody may do everything.
"""

from __future__ import annotations

import asyncio
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.events import DescribedConsumer
from broker.groups.consumer.records import Partitions
from broker.groups.consumer.topics import Topics
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.CONSUMER_GROUP_DESCRIBE

_NOT_ASKED_FOR = -(2**31)
_ALL_OPERATIONS = sum(1 << code for code in (3, 6, 8, 10, 11))
"""READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS: what there is to allow on a group."""
_CLASSIC, _CONSUMER = 0, 1


async def handle(request: Request, message: Any, services: Services) -> Any:
    operations = _ALL_OPERATIONS if message.include_authorized_operations else _NOT_ASKED_FOR
    groups = await asyncio.gather(*(_describe(group_id, operations, services) for group_id in message.group_ids))
    return m.ConsumerGroupDescribeResponse(groups=list(groups))


async def _describe(group_id: str, operations: int, services: Services) -> Any:
    described = m.ConsumerGroupDescribeResponse.DescribedGroup
    try:
        if not group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        group, topics = await services.groups.describe_consumer(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} is not a consumer group.")
    except KafkaError as error:
        return described(group_id=group_id, error_code=int(error.code), error_message=error.message, members=[])
    return described(
        group_id=group_id,
        group_state=group.state,
        group_epoch=group.epoch,
        assignment_epoch=group.assignment_epoch,
        assignor_name=group.assignor,
        members=[_member(member, topics) for member in group.members],
        authorized_operations=operations,
    )


def _member(member: DescribedConsumer, topics: Topics) -> Any:
    return m.ConsumerGroupDescribeResponse.Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client_id,
        client_host=member.client_host,
        subscribed_topic_names=list(member.topics),
        subscribed_topic_regex=member.regex or None,
        assignment=_assignment(member.assigned, topics),
        target_assignment=_assignment(member.target, topics),
        member_type=_CLASSIC if member.is_classic else _CONSUMER,
    )


def _assignment(partitions: Partitions, topics: Topics) -> Any:
    """Topics that are gone have no name to be described by."""
    response = m.ConsumerGroupDescribeResponse
    return response.Assignment(
        topic_partitions=[
            response.TopicPartitions(topic_id=topic_id, topic_name=name, partitions=sorted(indexes))
            for topic_id, indexes in partitions.items()
            if (name := topics.name(topic_id)) is not None
        ]
    )
