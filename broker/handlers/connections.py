"""Connections (private, key 10004), version 0: who is connected to this broker, one bounded page at a time.

Nothing is sampled for it: the page is read from the sessions' counters when somebody asks.
"""

from __future__ import annotations

from broker import limits
from broker.handlers.context import ConnectionInfo, Request, Services
from broker.protocol.api import ApiKey
from broker.protocol.private import ConnectionsRequest, ConnectionsResponse

API = ApiKey.CONNECTIONS


def handle_private(request: Request, message: ConnectionsRequest, services: Services) -> ConnectionsResponse:
    limit = min(max(message.limit, 1), limits.CONNECTIONS_PAGE_MAX)
    now_ms = services.clock.wall_ms()

    def wanted(connection: ConnectionInfo) -> bool:
        return (not message.listener or connection.listener == message.listener) and (
            not message.client_id or message.client_id in (connection.client_id or "")
        )

    found, total = services.connections.page(after=message.after, limit=limit + 1, now_ms=now_ms, wanted=wanted)
    page = found[:limit]
    return ConnectionsResponse(
        broker_id=services.node_id,
        sampled_at_ms=now_ms,
        total=total,
        next_after=page[-1].connection_id if len(found) > limit else 0,
        connections=page,
    )
