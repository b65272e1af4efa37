"""What the brokers under test have in common: free ports, and what /proc tells of a process."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

LOWEST, HIGHEST = 11_000, 21_999
"""Below the range the system hands to clients. Ottla's internal listener is 10000 above its client listener."""
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def free_ports(count: int) -> list[int]:
    """Each free together with the one 10000 above it."""
    found: list[int] = []
    while len(found) < count:
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        try:
            for candidate in (port, port + 10_000):
                socket.create_server(("127.0.0.1", candidate)).close()
        except OSError:
            continue
        if port not in found:
            found.append(port)
    return found


def free_run_of_ports(count: int) -> list[int]:
    """Consecutive ones, each free together with the one 10000 above it: the brokers of one cluster."""
    while True:
        first = LOWEST + secrets.randbelow(HIGHEST - LOWEST - count)
        run = list(range(first, first + count))
        try:
            for port in run:
                for candidate in (port, port + 10_000):
                    socket.create_server(("127.0.0.1", candidate)).close()
        except OSError:
            continue
        return run


def cpu_seconds(pid: int) -> float:
    """User plus system time of a process since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE_BYTES / 1e6
