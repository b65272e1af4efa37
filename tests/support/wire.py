"""A socket that says whatever it is told to, and reads what comes back."""

from __future__ import annotations

import socket
import struct
from types import TracebackType

from broker.protocol import codec
from broker.protocol.header import request_header, skip_response_header


class Wire:
    """``with Wire(port) as wire: wire.send(...)``. Every read has a deadline."""

    def __init__(self, port: int, *, timeout: float = 10.0, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Whatever the broker does with it: a connection that it has closed already is no failure of the test."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def request(self, api_key: int, version: int, message: object, *, correlation_id: int = 1) -> None:
        self.send(request_frame(api_key, version, message, correlation_id=correlation_id))

    def answer(self, api_key: int, version: int):
        """(correlation id, decoded response)."""
        frame = self.frame()
        correlation_id, at = skip_response_header(api_key, version, frame)
        return correlation_id, codec.decode_response(api_key, version, frame[at:])

    def call(self, api_key: int, version: int, message: object):
        self.request(api_key, version, message)
        return self.answer(api_key, version)[1]

    def frame(self) -> bytes:
        (length,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(length)

    def closed_by_broker(self) -> bool:
        """Whether the broker ends the connection without another byte (before the deadline)."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self.socket.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise EOFError(f"closed after {len(parts)} of {size} bytes")
            parts += part
        return bytes(parts)


def raw_frame(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def request_frame(
    api_key: int, version: int, message: object, *, correlation_id: int = 1, client_id: str = "hostile"
) -> bytes:
    head = request_header(api_key, version, correlation_id, client_id)
    return raw_frame(head + codec.encode_request(api_key, version, message))
