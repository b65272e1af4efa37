"""Does anything that speaks Kafka answer at this address? One ApiVersions v0 exchange on a fresh connection.

Owns no state and imports nothing heavy, so that a health check stays cheap and never shares the fate of a
cached connection.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

_API_VERSIONS = 18
_CORRELATION_ID = 0x6F74746C
RESPONSE_BYTES_MAX = 64 * 1024


def ping(host: str, port: int, timeout: float = 1.0) -> float:
    """Milliseconds until the answer came. Raises ``OSError`` when nothing, or something else, answers."""
    started = time.monotonic()
    deadline = started + timeout
    header = struct.pack(">hhih", _API_VERSIONS, 0, _CORRELATION_ID, -1)
    with socket.create_connection((host, port), timeout=timeout) as connection:
        connection.sendall(struct.pack(">i", len(header)) + header)
        length, correlation_id = struct.unpack(">ii", _read(connection, 8, deadline))
    if correlation_id != _CORRELATION_ID or not 4 < length <= RESPONSE_BYTES_MAX:
        raise ConnectionError(f"{host}:{port} does not speak Kafka's protocol")
    return (time.monotonic() - started) * 1000


def _read(connection: socket.socket, count: int, deadline: float) -> bytes:
    received = b""
    while len(received) < count:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("no answer in time")
        connection.settimeout(remaining)
        piece = connection.recv(count - len(received))
        if not piece:
            raise ConnectionError("the connection was closed without an answer")
        received += piece
    return received


def main(arguments: list[str]) -> int:
    """``python -m broker.client.ping HOST:PORT``: exit code 0 when a broker answers there."""
    host, _, port = arguments[0].rpartition(":") if len(arguments) == 1 else ("", "", "")
    if not host or not port.isdecimal():
        print("usage: python -m broker.client.ping HOST:PORT", file=sys.stderr)
        return 2
    try:
        milliseconds = ping(host.strip("[]"), int(port))
    except OSError as error:
        print(f"{arguments[0]}: {error}", file=sys.stderr)
        return 1
    print(f"{arguments[0]} answered in {milliseconds:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
