"""Free ports for an installation: below the range the system hands to clients, so that they stay free."""

from __future__ import annotations

import secrets
import socket

LOWEST, HIGHEST = 11_000, 21_999
"""For Kafka's client listener; its internal twin is 10000 above, still below 32768."""


def free_port() -> int:
    return _free(0)


def free_kafka_port() -> int:
    """Free together with its internal twin."""
    return _free(10_000)


def _free(twin: int) -> int:
    while True:
        # Not ``random``: its seed is the same in every test.
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        try:
            for candidate in {port, port + twin}:
                socket.create_server(("127.0.0.1", candidate)).close()
        except OSError:
            continue
        return port
