"""LeaveGroup v0-5: members go, or an administrator removes static members by instance id.

Versions: v3 several members with an error each (before: one, whose error is the answer's), v4 flexible, v5 reason
(KIP-800).
"""

from __future__ import annotations

from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.groups.events import Leave, LeaveReply, LeavingMember
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.LEAVE_GROUP

_BATCH_SINCE_VERSION = 3
_REASON_LENGTH_MAX = 255


async def handle(request: Request, message: Any, services: Services) -> Any:
    batched = request.api_version >= _BATCH_SINCE_VERSION
    if batched:
        members = tuple(
            LeavingMember(
                member_id=member.member_id,
                instance_id=member.group_instance_id,
                reason=(member.reason or "")[:_REASON_LENGTH_MAX],
            )
            for member in message.members
        )
    else:
        members = (LeavingMember(member_id=message.member_id),)
    try:
        reply = await services.groups.leave(Leave(group_id=message.group_id, members=members))
    except KafkaError as error:
        return m.LeaveGroupResponse(error_code=int(error.code))
    if not batched:
        return m.LeaveGroupResponse(error_code=int(_only_error(reply)))
    return m.LeaveGroupResponse(
        members=[
            m.LeaveGroupResponse.MemberResponse(
                member_id=member.member_id, group_instance_id=member.instance_id, error_code=int(error_code)
            )
            for member, error_code in reply.members
        ]
    )


def _only_error(reply: LeaveReply) -> ErrorCode:
    ((_, error_code),) = reply.members
    return error_code
