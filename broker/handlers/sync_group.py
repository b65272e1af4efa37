"""SyncGroup v0-5: the leader hands in everyone's assignment, everyone takes his own.

Versions: v3 static members, v4 flexible, v5 protocol type and name, mandatory, checked and echoed in the answer.
Assignments are opaque and returned byte for byte.
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.groups.events import Sync, SyncReply
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.SYNC_GROUP

_PROTOCOL_SINCE_VERSION = 5


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
        if request.api_version >= _PROTOCOL_SINCE_VERSION and None in (event.protocol_type, event.protocol):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        reply = await services.groups.sync(event)
    except KafkaError as error:
        reply = SyncReply(error=error.code)
    return m.SyncGroupResponse(
        error_code=int(reply.error),
        protocol_type=reply.protocol_type,
        protocol_name=reply.protocol,
        assignment=reply.assignment,
    )
