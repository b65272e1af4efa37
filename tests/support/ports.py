"""Free ports for servers that tests start: below the range the system hands to clients, so that they stay free.

A port that was handed out is claimed until this process ends, started server or not: other test processes on this
machine, be they workers of one run, never get it. A claim is a lock on one byte of a common file, the port's number.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import tempfile
from collections.abc import Sequence

LOWEST, HIGHEST = 11_000, 21_999
"""For Kafka's client listener; its internal twin is 10000 above, still below 32768."""
TWIN = 10_000

_claimed: set[int] = set()
"""The system lets a process lock a byte twice, so our own claims are kept here besides."""
_claims: list[int] = []
"""The file's descriptor, once it is open. Closing it would give up every claim."""


def free_port() -> int:
    return _free([0])


def free_kafka_port(brokers: int = 1) -> int:
    """Of the first of so many brokers, which listen on consecutive ports, each free together with its internal twin."""
    return _free([offset + twin for offset in range(brokers) for twin in (0, TWIN)])


def claim(port: int) -> bool:
    """Whether ``port`` is ours from now on: no other test process has it."""
    if port in _claimed:
        return False
    if not _claims:
        path = os.path.join(tempfile.gettempdir(), f"ottla-test-ports-{os.getuid()}")
        _claims.append(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        fcntl.lockf(_claims[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    _claimed.add(port)
    return True


def _free(offsets: Sequence[int]) -> int:
    while True:
        # Not ``random``: its seed is the same in every test, and in every worker.
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        # What was claimed before one of them turned out to be taken stays claimed: there are enough.
        if all(claim(port + offset) and _accepts(port + offset) for offset in offsets):
            return port


def _accepts(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
