"""Heartbeat v0-4: a member says it is alive and learns whether the group is rebalancing.

Versions: v3 static members, v4 flexible. While the group is being loaded the answer is success, as in Kafka: the
member has done nothing wrong and its session starts anew.
"""

from __future__ import annotations

from typing import Any

from broker.errors import KafkaError
from broker.groups.events import Heartbeat
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.HEARTBEAT


async def handle(request: Request, message: Any, services: Services) -> Any:
    event = Heartbeat(
        group_id=message.group_id,
        generation=message.generation_id,
        member_id=message.member_id,
        instance_id=message.group_instance_id,
    )
    try:
        error_code = await services.groups.heartbeat(event)
    except KafkaError as error:
        error_code = error.code
    return m.HeartbeatResponse(error_code=int(error_code))
