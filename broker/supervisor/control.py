"""The control socket: how the Services page asks for the state of processes and for changes to it.

``$OTTLA_HOME/control.sock``, mode 0600. One JSON object a line in, one a line out, in order:

    {"command": "status"}                                     -> {"ok": true, "services": [...], ...}
    {"command": "tail", "name": "broker-1", "lines": 100}     -> {"ok": true, "lines": [...]}
    {"command": "stop" | "start" | "restart", "name": "broker-1", "actor": "admin"}  -> {"ok": true}
    anything else                                             -> {"ok": false, "error": "..."}

A change may carry ``"pid": 4711``: it is for that process alone, and refused when another has taken its place. So who does
not know whether it has been asked already may ask again.

A change is answered when it has been made: after a stop the process is gone; start and restart return once
the new process exists, ready or not.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

REQUEST_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 32
IDLE_SECONDS = 60.0

Answer = dict[str, Any]
Handler = Callable[[Mapping[str, Any]], Awaitable[Answer]]


class ControlRefused(Exception):
    """The request cannot be honoured; the text says why, for a person."""


class ControlServer:
    def __init__(self, path: Path, handle: Handler) -> None:
        self._path = path
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        # The mode is right from the first moment: nobody connects between bind and chmod.
        previous = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=REQUEST_BYTES_MAX)
        finally:
            os.umask(previous)

    async def stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            writer.close()
            return
        self._connections.add(task)
        try:
            while line := await self._read_line(reader):
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            return
        finally:
            self._connections.discard(task)
            writer.close()

    async def _read_line(self, reader: asyncio.StreamReader) -> bytes:
        """Empty when the peer is gone, silent for too long, or sends a line without end."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                return await reader.readline()
        except (TimeoutError, ValueError):
            return b""

    async def _answer(self, line: bytes) -> Answer:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ControlRefused("a request is a JSON object")
            return {"ok": True, **await self._handle(request)}
        except ControlRefused as refusal:
            return {"ok": False, "error": str(refusal)}
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            return {"ok": False, "error": f"not a line of JSON: {error}"}
