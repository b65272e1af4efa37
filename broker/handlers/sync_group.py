"""SyncGroup v0-5: the leader hands in everyone's assignment, everyone takes his own.

Versions: v3 static members, v4 flexible, v5 protocol type and name, checked when given and echoed in the answer.
Assignments are opaque and returned byte for byte.
"""

from __future__ import annotations

from typing import Any

from broker.errors import KafkaError
from broker.groups.events import Sync, SyncReply
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.SYNC_GROUP


async def handle(request: Request, message: Any, services: Services) -> Any:
    event = Sync(
        group_id=message.group_id,
        generation=message.generation_id,
        member_id=message.member_id,
        instance_id=message.group_instance_id,
        protocol_type=message.protocol_type,
        protocol=message.protocol_name,
        assignments=tuple((item.member_id, bytes(item.assignment)) for item in message.assignments),
    )
    try:
        reply = await services.groups.sync(event)
    except KafkaError as error:
        reply = SyncReply(error=error.code)
    return m.SyncGroupResponse(
        error_code=int(reply.error),
        protocol_type=reply.protocol_type,
        protocol_name=reply.protocol,
        assignment=reply.assignment,
    )
