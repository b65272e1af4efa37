"""ListGroups v0-5: the groups this broker coordinates.

Versions: v3 flexible, v4 filter by state, v5 filter by type. Filters ignore case; empty means all; a name nobody knows
matches nothing. While a partition of ``__consumer_offsets`` is loading the answer is an error, never a short list.
"""

from __future__ import annotations

from typing import Any

from broker.errors import KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.LIST_GROUPS


async def handle(request: Request, message: Any, services: Services) -> Any:
    try:
        groups = await services.groups.list_groups()
    except KafkaError as error:
        return m.ListGroupsResponse(error_code=int(error.code), groups=[])
    states = {state.lower() for state in message.states_filter or ()}
    types = {type_.lower() for type_ in message.types_filter or ()}
    return m.ListGroupsResponse(
        groups=[
            m.ListGroupsResponse.ListedGroup(
                group_id=group.group_id,
                protocol_type=group.protocol_type,
                group_state=group.state,
                group_type=group.type,
            )
            for group in groups
            if (not states or group.state.lower() in states) and (not types or group.type in types)
        ]
    )
