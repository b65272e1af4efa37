"""A TCP proxy in front of ZooKeeper that loses changes or their answers, together with the connection.

It knows as much of the protocol as that takes: frames have a length, requests a number and a kind, answers the number. The first frame
each way opens the session and has neither.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Literal

MULTI = 14
Loss = Literal["request", "answer", ""]


class LossyZookeeperProxy:
    """``decide()`` says for each change what is lost of it. Called in the proxy's threads."""

    def __init__(self, server: tuple[str, int], decide: Callable[[], Loss], *, port: int = 0) -> None:
        self._server = server
        self._decide = decide
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address: tuple[str, int] = ("127.0.0.1", self._listener.getsockname()[1])
        self.lost: list[Loss] = []
        self._open: list[socket.socket] = []

    def __enter__(self) -> LossyZookeeperProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cut(self._listener, *self._open)
        for each in (self._listener, *self._open):
            each.close()

    def cut_all(self) -> None:
        self._cut(*self._open)

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
                unanswered: set[int] = set()
                for forward in (self._forward_requests, self._forward_answers):
                    threading.Thread(target=forward, args=(client, server, unanswered), daemon=True).start()

    def _forward_requests(self, client: socket.socket, server: socket.socket, lose: set[int]) -> None:
        with contextlib.suppress(OSError):
            server.sendall(_read_frame(client))
            while frame := _read_frame(client):
                number, kind = struct.unpack_from(">ii", frame, 4)
                loss = self._decide() if kind == MULTI else ""
                if loss:
                    self.lost.append(loss)
                if loss == "request":
                    break
                if loss == "answer":
                    lose.add(number)
                server.sendall(frame)
        self._cut(client, server)

    def _forward_answers(self, client: socket.socket, server: socket.socket, lose: set[int]) -> None:
        with contextlib.suppress(OSError):
            client.sendall(_read_frame(server))
            while frame := _read_frame(server):
                if struct.unpack_from(">i", frame, 4)[0] in lose:
                    break
                client.sendall(frame)
        self._cut(client, server)

    @staticmethod
    def _cut(*ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _read_frame(source: socket.socket) -> bytes:
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
