"""Connections by address: reuse an idle one, open another while few, else share the least busy.

Kafka answers a connection strictly in order, so a long poll blocks everything sent behind it on the same
connection. Taking an idle connection first keeps a short call from queueing behind a waiting fetch.
"""

from __future__ import annotations

import asyncio

from broker.client.addresses import Address
from broker.client.connection import Connection

CONNECTIONS_PER_BROKER_MAX = 4


class ConnectionPool:
    def __init__(self, *, client_id: str, secret: bytes | None, connect_timeout_seconds: float) -> None:
        self._client_id = client_id
        self._secret = secret
        self._connect_timeout_seconds = connect_timeout_seconds
        self._connections: dict[Address, list[Connection]] = {}
        self._opening: dict[Address, int] = {}

    async def acquire(self, address: Address) -> Connection:
        """A usable connection. Nothing has to be given back: a connection is shared while it lives."""
        alive = self._alive(address)
        idle = next((connection for connection in alive if connection.pending_count == 0), None)
        if idle is not None:
            return idle
        if alive and len(alive) + self._opening.get(address, 0) >= CONNECTIONS_PER_BROKER_MAX:
            return min(alive, key=lambda connection: connection.pending_count)
        return await self._open(address)

    def is_connected(self, address: Address) -> bool:
        return bool(self._alive(address))

    async def close(self) -> None:
        everything = [connection for group in self._connections.values() for connection in group]
        self._connections.clear()
        await asyncio.gather(*(connection.close() for connection in everything))

    def _alive(self, address: Address) -> list[Connection]:
        alive = [connection for connection in self._connections.get(address, ()) if not connection.closed]
        self._connections[address] = alive
        return alive

    async def _open(self, address: Address) -> Connection:
        self._opening[address] = self._opening.get(address, 0) + 1
        try:
            connection = await Connection.open(
                address,
                client_id=self._client_id,
                secret=self._secret,
                connect_timeout_seconds=self._connect_timeout_seconds,
            )
        finally:
            self._opening[address] -= 1
        self._connections.setdefault(address, []).append(connection)
        return connection
