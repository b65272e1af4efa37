"""FindCoordinator v0-6: which broker coordinates a group.

Versions: v1 key types, v3 flexible, v4 batched keys (KIP-699), v5 new error codes, v6 share groups (type 2).
Deviations: transactions are not coordinated yet, so type 1 answers COORDINATOR_NOT_AVAILABLE with a message that says
so; share groups (type 2) likewise. Asking for a group's coordinator creates ``__consumer_offsets`` if there is none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.FIND_COORDINATOR

GROUP, TRANSACTION, SHARE = 0, 1, 2
_BATCHED_SINCE_VERSION = 4
_UNSERVED = {
    TRANSACTION: "This broker does not coordinate transactions yet.",
    SHARE: "This broker does not coordinate share groups yet.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    node_id: int = -1
    host: str = ""
    port: int = -1
    error: ErrorCode = ErrorCode.NONE
    message: str | None = None


async def handle(request: Request, message: Any, services: Services) -> Any:
    if request.api_version < _BATCHED_SINCE_VERSION:
        found = await _find(message.key_type, message.key, services)
        return m.FindCoordinatorResponse(
            error_code=int(found.error),
            error_message=found.message,
            node_id=found.node_id,
            host=found.host,
            port=found.port,
        )
    keys = list(message.coordinator_keys)
    answers = await asyncio.gather(*(_find(message.key_type, key, services) for key in keys))
    return m.FindCoordinatorResponse(
        coordinators=[
            m.FindCoordinatorResponse.Coordinator(
                key=key,
                node_id=found.node_id,
                host=found.host,
                port=found.port,
                error_code=int(found.error),
                error_message=found.message,
            )
            for key, found in zip(keys, answers, strict=True)
        ]
    )


async def _find(key_type: int, key: str, services: Services) -> _Found:
    try:
        if key_type in _UNSERVED:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, _UNSERVED[key_type])
        if key_type != GROUP:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown coordinator type {key_type}.")
        broker = await services.groups.find(key)
    except KafkaError as error:
        return _Found(error=error.code, message=error.message)
    return _Found(node_id=broker.id, host=broker.host, port=broker.port)
