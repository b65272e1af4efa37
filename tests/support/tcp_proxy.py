"""A TCP proxy in threads. Who derives from it decides what becomes of the frames that go through; frames begin with their length."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

JOIN_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A client's connection and the one to the server behind it."""

    client: socket.socket
    server: socket.socket
    noted: dict[int, int] = field(default_factory=dict)
    """What the requests say about the answers to come, by their number."""


class TcpProxy:
    """Both ends of a link are cut when either direction ends; a server that is not there costs the client its connection."""

    def __init__(self, server: tuple[str, int], *, port: int = 0) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def forward_requests(self, link: Link) -> None:
        """Until the client's stream ends; an ``OSError`` ends it, too."""
        while frame := read_frame(link.client):
            link.server.sendall(frame)

    def forward_answers(self, link: Link) -> None:
        while frame := read_frame(link.server):
            link.client.sendall(frame)

    def cut_all(self) -> None:
        _cut(*self._open)

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _cut(self._listener, *self._open)
        for thread in self._threads:
            thread.join(JOIN_SECONDS_MAX)
        for each in (self._listener, *self._open):
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._server)
                except OSError:
                    client.close()
                    continue
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open += [client, server]
                link = Link(client=client, server=server)
                for forward in (self.forward_requests, self.forward_answers):
                    self._spawn(self._forward, forward, link)

    @staticmethod
    def _forward(forward: Callable[[Link], None], link: Link) -> None:
        with contextlib.suppress(OSError):
            forward(link)
        _cut(link.client, link.server)

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()


def read_frame(source: socket.socket) -> bytes:
    """One whole frame with its length prefix, or nothing at the end of the stream."""
    head = _read_exactly(source, 4)
    return head and head + _read_exactly(source, struct.unpack(">i", head)[0])


def _read_exactly(source: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = source.recv(size - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)


def _cut(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
