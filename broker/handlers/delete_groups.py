"""DeleteGroups v0-2: remove groups without members, together with their offsets.

Versions: v2 flexible. A group with members is NON_EMPTY_GROUP, an unknown one GROUP_ID_NOT_FOUND; each group fails alone.
"""

from __future__ import annotations

import asyncio
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.DELETE_GROUPS


async def handle(request: Request, message: Any, services: Services) -> Any:
    group_ids = list(dict.fromkeys(message.groups_names))
    errors = await asyncio.gather(*(_delete(group_id, services) for group_id in group_ids))
    return m.DeleteGroupsResponse(
        results=[
            m.DeleteGroupsResponse.DeletableGroupResult(group_id=group_id, error_code=int(error))
            for group_id, error in zip(group_ids, errors, strict=True)
        ]
    )


async def _delete(group_id: str, services: Services) -> ErrorCode:
    try:
        return await services.groups.delete_group(group_id)
    except KafkaError as error:
        return error.code
