"""FindCoordinator v0-6: which broker coordinates a group or a transactional id.

Versions: v1 key types (0 group, 1 transactional id), v3 flexible, v4 batched keys (KIP-699), v5 new error codes, v6 share
groups (type 2). The address is that of the listener the request came in by. Asking creates the coordinator's topic if there is
none: ``__consumer_offsets`` for a group, ``__transaction_state`` for a transactional id.
Deviation: share groups (type 2) answer COORDINATOR_NOT_AVAILABLE with a message.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.handlers.topology import endpoints
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

API = ApiKey.FIND_COORDINATOR


class CoordinatorType(IntEnum):
    GROUP = 0
    TRANSACTION = 1
    SHARE = 2


_BATCHED_SINCE_VERSION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    node_id: int = -1
    host: str = ""
    port: int = -1
    error: ErrorCode = ErrorCode.NONE
    message: str | None = None


async def handle(request: Request, message: Any, services: Services) -> Any:
    if request.api_version < _BATCHED_SINCE_VERSION:
        found = await _find(message.key_type, message.key, request, services)
        return m.FindCoordinatorResponse(
            error_code=int(found.error),
            error_message=found.message,
            node_id=found.node_id,
            host=found.host,
            port=found.port,
        )
    keys = list(message.coordinator_keys)
    answers = await asyncio.gather(*(_find(message.key_type, key, request, services) for key in keys))
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


async def _find(key_type: int, key: str, request: Request, services: Services) -> _Found:
    try:
        match key_type:
            case CoordinatorType.GROUP:
                broker_id = await services.groups.find(key)
            case CoordinatorType.TRANSACTION:
                broker_id = await services.transactions.find(key)
            case CoordinatorType.SHARE:
                raise KafkaError(
                    ErrorCode.COORDINATOR_NOT_AVAILABLE, "This broker does not coordinate share groups yet."
                )
            case _:
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown coordinator type {key_type}.")
        endpoint = next((e for e in endpoints(request, services) if e.id == broker_id), None)
        if endpoint is None:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
    except KafkaError as error:
        return _Found(error=error.code, message=error.message)
    return _Found(node_id=endpoint.id, host=endpoint.host, port=endpoint.port)
