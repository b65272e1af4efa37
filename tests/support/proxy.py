"""A TCP proxy in front of a broker that loses Produce answers on purpose.

The connection is cut right after the broker's answer arrived and before the client sees it: the case in which a
client must retry what the broker already stored. Metadata and FindCoordinator answers are rewritten so that the
client keeps talking to the proxy: the broker's port is replaced by the proxy's, both as four bytes.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType

_HEADER = struct.Struct(">ihhi")
PRODUCE, METADATA, FIND_COORDINATOR = 0, 3, 10


class AnswerDroppingProxy:
    """Forwards frames; every ``drop_every``-th Produce answer is lost together with its connection."""

    def __init__(self, broker_port: int, *, drop_every: int) -> None:
        self._broker_port = broker_port
        self._drop_every = drop_every
        self._produced = 0
        self.dropped = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> AnswerDroppingProxy:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(timeout=5)

    def _spawn(self, target, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(("127.0.0.1", self._broker_port))
                self._open += [client, broker]
                keys: dict[int, int] = {}
                self._spawn(self._forward_requests, client, broker, keys)
                self._spawn(self._forward_answers, client, broker, keys)

    def _forward_requests(self, client: socket.socket, broker: socket.socket, keys: dict[int, int]) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            while frame := _read_frame(client):
                _, key, _, correlation_id = _HEADER.unpack_from(frame)
                keys[correlation_id] = key
                broker.sendall(frame)
        self._cut(client, broker)

    def _forward_answers(self, client: socket.socket, broker: socket.socket, keys: dict[int, int]) -> None:
        with contextlib.suppress(OSError, ConnectionError):
            while frame := _read_frame(broker):
                key = keys.pop(struct.unpack_from(">i", frame, 4)[0])
                if key == PRODUCE:
                    self._produced += 1
                    if self._produced % self._drop_every == 0:
                        self.dropped += 1
                        break
                elif key in (METADATA, FIND_COORDINATOR):
                    frame = frame.replace(struct.pack(">i", self._broker_port), struct.pack(">i", self.port))
                client.sendall(frame)
        self._cut(client, broker)

    @staticmethod
    def _cut(*ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _read_frame(source: socket.socket) -> bytes:
    """One whole frame with its length prefix, or nothing at the end of the stream."""
    head = _read_exactly(source, 4)
    if not head:
        return b""
    return head + _read_exactly(source, struct.unpack(">i", head)[0])


def _read_exactly(source: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = source.recv(size - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)
