"""DescribeGroups v0-6: members, their assignments and the state of groups.

Versions: v3 authorized operations, v4 instance ids, v5 flexible, v6 a group that does not exist is GROUP_ID_NOT_FOUND
with a message (before: state Dead without an error). What the members agreed on is shown only while the group is
Stable, as in Kafka. Without an authorizer everybody may do everything.
"""

from __future__ import annotations

import asyncio
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.groups.classic_group import GroupState
from broker.groups.events import DescribedMember
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.DESCRIBE_GROUPS

_NOT_FOUND_SINCE_VERSION = 6
_NOT_ASKED_FOR = -(2**31)
_ALL_OPERATIONS = sum(1 << code for code in (3, 6, 8, 10, 11))
"""READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS: what there is to allow on a group."""


async def handle(request: Request, message: Any, services: Services) -> Any:
    operations = _ALL_OPERATIONS if message.include_authorized_operations else _NOT_ASKED_FOR
    group_ids = list(message.groups)
    groups = await asyncio.gather(*(_describe(request, group_id, operations, services) for group_id in group_ids))
    return m.DescribeGroupsResponse(groups=list(groups))


async def _describe(request: Request, group_id: str, operations: int, services: Services) -> Any:
    try:
        group = await services.groups.describe(group_id)
    except KafkaError as error:
        return _answer(group_id=group_id, error_code=int(error.code), authorized_operations=operations)
    if group is None:
        if request.api_version < _NOT_FOUND_SINCE_VERSION:
            return _answer(group_id=group_id, group_state=GroupState.DEAD.value, authorized_operations=operations)
        return _answer(
            group_id=group_id,
            error_code=int(ErrorCode.GROUP_ID_NOT_FOUND),
            error_message=f"Group {group_id} not found.",
            group_state=GroupState.DEAD.value,
            authorized_operations=operations,
        )
    return _answer(
        group_id=group_id,
        group_state=group.state,
        protocol_type=group.protocol_type,
        protocol_data=group.protocol,
        members=[_member(member) for member in group.members],
        authorized_operations=operations,
    )


def _answer(**fields: Any) -> Any:
    empty: dict[str, Any] = {
        "error_code": 0,
        "error_message": None,
        "group_state": "",
        "protocol_type": "",
        "protocol_data": "",
        "members": [],
    }
    return m.DescribeGroupsResponse.DescribedGroup(**empty | fields)


def _member(member: DescribedMember) -> Any:
    return m.DescribeGroupsResponse.DescribedGroupMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        member_metadata=member.metadata,
        member_assignment=member.assignment,
    )
