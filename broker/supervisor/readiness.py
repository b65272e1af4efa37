"""Signs that a process serves: asked from outside, as its clients would.

Every probe returns False while the answer is not there yet and never raises for that.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from broker.supervisor.options import Endpoint

ANSWER_SECONDS = 2.0
ANSWER_BYTES_MAX = 512


async def redis_answers(socket_path: Path) -> bool:
    return await _exchange(asyncio.open_unix_connection(str(socket_path)), b"PING\r\n", b"+PONG")


async def http_answers(endpoint: Endpoint, host_header: str) -> bool:
    """Any answer of the health check will do: it is the web server's readiness, not the brokers'."""
    request = f"GET /healthz HTTP/1.1\r\nHost: {host_header}\r\nConnection: close\r\n\r\n".encode()
    target = endpoint.reachable()
    return await _exchange(asyncio.open_connection(target.host, target.port), request, b"HTTP/1.1 ")


async def _exchange(connecting, question: bytes, expected: bytes) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await connecting
            try:
                writer.write(question)
                return (await reader.read(ANSWER_BYTES_MAX)).startswith(expected)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
