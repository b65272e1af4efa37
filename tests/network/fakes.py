"""A transport that records and a pipeline that answers on command."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from broker.handlers.context import ConnectionInfo
from broker.handlers.reply import CloseConnection, Deferred, Reply
from broker.network.server import Server, ServerSettings
from broker.network.session import Session

PRODUCE, FETCH, METADATA = 0, 1, 3


def frame(api_key: int, correlation_id: int, payload: bytes = b"") -> bytes:
    body = struct.pack(">hhih", api_key, 0, correlation_id, -1) + payload
    return struct.pack(">i", len(body)) + body


def answer(correlation_id: int, payload: bytes = b"") -> bytes:
    return struct.pack(">ii", 4 + len(payload), correlation_id) + payload


class FakeTransport(asyncio.Transport):
    """Keeps what is written; ``hold_writes`` makes it behave like a peer that does not read."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        super().__init__()
        self.written = bytearray()
        self.reading = True
        self.closing = False
        self.aborted = False
        self.address = address
        self.session: Session | None = None
        self.high = 0
        self.hold_writes = False
        self.lingers = False
        """Closing waits for a peer that does not take the rest."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        return (self.address, 4242) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def write(self, data) -> None:
        self.written += data
        if self.hold_writes and len(self.written) > self.high and self.session is not None:
            self.session.pause_writing()

    def writelines(self, pieces) -> None:
        for piece in pieces:
            self.write(piece)

    def get_write_buffer_size(self) -> int:
        return len(self.written) if self.hold_writes else 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.lingers:
                self._lose()

    def abort(self) -> None:
        if not self.aborted and (self.lingers or not self.closing):
            self.closing = True
            self._lose()
        self.aborted = True

    def _lose(self) -> None:
        assert self.session is not None
        self.session.connection_lost(None)

    def correlation_ids(self) -> list[int]:
        """Of the answers written so far, in order."""
        found, at = [], 0
        while at < len(self.written):
            length, correlation_id = struct.unpack_from(">ii", self.written, at)
            found.append(correlation_id)
            at += 4 + length
        return found


class FakePipeline:
    """Answers at once, unless the payload of the request says otherwise."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []
        self.payloads: list[bytes] = []
        self.parked: dict[int, Deferred] = {}
        self.on_handle: Callable[[int], Reply] | None = None

    def handle(self, view: memoryview, connection: ConnectionInfo) -> Reply:
        api_key, _, correlation_id, _ = struct.unpack_from(">hhih", view)
        payload = bytes(view[10:])
        self.started.append((api_key, correlation_id))
        self.payloads.append(payload)
        if self.on_handle is not None:
            return self.on_handle(correlation_id)
        if payload == b"park":
            self.parked[correlation_id] = Deferred()
            return self.parked[correlation_id]
        if payload == b"silent":
            return None
        if payload == b"close":
            raise CloseConnection("asked for")
        if payload == b"login":
            connection.authenticated = True
        return answer(correlation_id)

    def resolve(self, correlation_id: int) -> None:
        self.parked[correlation_id].resolve(answer(correlation_id))


class Link:
    """A session with its fakes, fed as the event loop would feed it."""

    def __init__(self, server: Server, listener: str = "client", address: str = "10.0.0.1") -> None:
        self.server = server
        self.pipeline: FakePipeline = server.pipeline  # type: ignore[assignment]
        self.session = Session(server, listener)
        self.transport = FakeTransport(address)
        self.transport.session = self.session
        self.session.connection_made(self.transport)

    def receive(self, data: bytes) -> bytes:
        """Deliver ``data`` in the pieces the session has room for; what it would not read comes back."""
        rest = memoryview(data)
        while rest and self.transport.reading and not self.transport.closing:
            buffer = self.session.get_buffer(-1)
            count = min(len(buffer), len(rest))
            buffer[:count] = rest[:count]
            self.session.buffer_updated(count)
            rest = rest[count:]
        return bytes(rest)


def new_server(loop: asyncio.AbstractEventLoop, **settings: Any) -> Server:
    return Server(loop, FakePipeline(), ServerSettings(**settings))  # type: ignore[arg-type]
