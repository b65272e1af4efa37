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
        self._opening: dict[Address, set[asyncio.Future[None]]] = {}
        """Per address one future for each connection being opened."""

    async def acquire(self, address: Address) -> Connection:
        """A usable connection. Nothing has to be given back: a connection is shared while it lives."""
        while True:
            alive = self._alive(address)
            idle = next((connection for connection in alive if connection.pending_count == 0), None)
            if idle is not None:
                return idle
            opening = self._opening.setdefault(address, set())
            if len(alive) + len(opening) < CONNECTIONS_PER_BROKER_MAX:
                return await self._open(address, opening)
            if alive:
                return min(alive, key=lambda connection: connection.pending_count)
            await asyncio.wait(opening, return_when=asyncio.FIRST_COMPLETED)

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

    async def _open(self, address: Address, opening: set[asyncio.Future[None]]) -> Connection:
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        opening.add(finished)
        try:
            connection = await Connection.open(
                address,
                client_id=self._client_id,
                secret=self._secret,
                connect_timeout_seconds=self._connect_timeout_seconds,
            )
            self._connections.setdefault(address, []).append(connection)
            return connection
        finally:
            opening.discard(finished)
            finished.set_result(None)
