"""JoinGroup v0-9: become a member of a classic group, or take part in its next round.

Versions: v1 rebalance timeout (before: the session timeout), v4 MEMBER_ID_REQUIRED (KIP-394), v5 static members
(KIP-345), v6 flexible, v7 protocol type in the answer and a nullable protocol name, v8 reason (KIP-800), v9
skip_assignment (KIP-814).
Deviations: a JoinGroup that the same member repeats is answered REBALANCE_IN_PROGRESS on its first, given-up request (Kafka
leaves that one unanswered). A sole member may change its protocols while keeping its id (Kafka refuses that one as
inconsistent with itself). A static member that comes back with other topics opens a round (Kafka leaves everybody with the
old assignment until something else opens one).
"""

from __future__ import annotations

import uuid
from typing import Any

from broker.errors import KafkaError
from broker.groups.events import Join, JoinReply
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.JOIN_GROUP

_REASON_LENGTH_MAX = 255
_NULLABLE_PROTOCOL_SINCE_VERSION = 7


async def handle(request: Request, message: Any, services: Services) -> Any:
    event = _event(request, message)
    try:
        reply = await services.groups.join(event)
    except KafkaError as error:
        reply = JoinReply(error=error.code, member_id=event.member_id)
    protocol = reply.protocol
    if protocol is None and request.api_version < _NULLABLE_PROTOCOL_SINCE_VERSION:
        protocol = ""
    return m.JoinGroupResponse(
        error_code=int(reply.error),
        generation_id=reply.generation,
        protocol_type=reply.protocol_type,
        protocol_name=protocol,
        leader=reply.leader,
        skip_assignment=reply.skip_assignment,
        member_id=reply.member_id,
        members=[
            m.JoinGroupResponse.JoinGroupResponseMember(
                member_id=member.member_id, group_instance_id=member.instance_id, metadata=member.metadata
            )
            for member in reply.members
        ],
    )


def _event(request: Request, message: Any) -> Join:
    rebalance_timeout_ms = message.rebalance_timeout
    return Join(
        group_id=message.group_id,
        member_id=message.member_id,
        instance_id=message.group_instance_id,
        client_id=request.client_id or "",
        client_host=f"/{request.connection.peer_host}",
        protocol_type=message.protocol_type,
        protocols=tuple((protocol.name, bytes(protocol.metadata)) for protocol in message.protocols),
        session_timeout_ms=message.session_timeout,
        rebalance_timeout_ms=message.session_timeout if request.api_version == 0 else max(rebalance_timeout_ms, 0),
        generated_id=str(uuid.uuid4()),
        requires_member_id=request.api_version >= 4,
        supports_skip_assignment=request.api_version >= 9,
        reason=(message.reason or "")[:_REASON_LENGTH_MAX],
    )
