"""ConsumerGroupHeartbeat v0-1: a member of the consumer protocol (KIP-848) joins, says it is alive, and leaves.

Versions: v1 member ids made by clients, subscriptions by regular expression resolved by the broker.
Deviations: a pattern is resolved within the request that brings it, not some heartbeats later, and never stands for internal
topics. A static member may join again under its own member id without having left. A retry under the previous epoch is let in
also while the member still has partitions to give up. A classic group whose sticky assignor tells its members by user data
what they had can be upgraded; with user data of any other assignor it cannot, as in Kafka. Racks neither steer assignments
nor trigger them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from broker.errors import KafkaError
from broker.groups.consumer.events import ConsumerHeartbeat, ConsumerHeartbeatReply
from broker.groups.consumer.records import OwnedPartitions
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import ZERO_TOPIC_ID, TopicId, format_topic_id

API = ApiKey.CONSUMER_GROUP_HEARTBEAT

_CLIENT_IDS_SINCE_VERSION = 1


async def handle(request: Request, message: Any, services: Services) -> Any:
    event = _event(request, message)
    brings_own_id = request.api_version >= _CLIENT_IDS_SINCE_VERSION
    try:
        reply = await services.groups.consumer_heartbeat(event, brings_own_id=brings_own_id)
    except KafkaError as error:
        reply = ConsumerHeartbeatReply(error=error.code, message=error.message)
    return m.ConsumerGroupHeartbeatResponse(
        error_code=int(reply.error),
        error_message=reply.message,
        member_id=reply.member_id,
        member_epoch=reply.epoch,
        heartbeat_interval=reply.heartbeat_interval_ms,
        assignment=None if reply.assigned is None else _assignment(reply.assigned),
    )


def _event(request: Request, message: Any) -> ConsumerHeartbeat:
    topics = message.subscribed_topic_names
    return ConsumerHeartbeat(
        group_id=message.group_id,
        member_id=message.member_id,
        epoch=message.member_epoch,
        instance_id=message.instance_id,
        rack_id=message.rack_id,
        rebalance_timeout_ms=message.rebalance_timeout,
        topics=None if topics is None else tuple(sorted(set(topics))),
        regex=message.subscribed_topic_regex,
        assignor=message.server_assignor,
        owned=None if message.topic_partitions is None else _owned(message.topic_partitions),
        client_id=request.client_id or "",
        client_host=f"/{request.connection.peer_host}",
        generated_id="" if message.member_id else format_topic_id(uuid.uuid4().bytes),
    )


def _owned(topics: list[Any]) -> Mapping[TopicId, frozenset[int]]:
    return {topic.topic_id or ZERO_TOPIC_ID: frozenset(topic.partitions) for topic in topics if topic.partitions}


def _assignment(assigned: OwnedPartitions) -> Any:
    response = m.ConsumerGroupHeartbeatResponse
    return response.Assignment(
        topic_partitions=[
            response.TopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
            for topic_id, partitions in assigned.items()
        ]
    )
