"""Tells whether the process that wrote a name is still alive, for processes of this very machine.

A store with servers of its own notices a dead broker only after a timeout. A broker that is started again right after
``kill -9`` would have to wait that long for its own id, although its machine knows that nobody holds it.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path


class Holder(Enum):
    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """On another machine, or in another container, or from before this machine's last boot."""


def identity_of_this_process() -> str:
    return f"{_machine()} {os.getpid()} {_started_at(os.getpid())}"


def holder_of(identity: str) -> Holder:
    machine, _, process = identity.partition(" ")
    pid, _, started_at = process.partition(" ")
    if not machine or machine != _machine() or not pid.isdecimal() or not started_at:
        return Holder.UNKNOWN
    # Another process may have got the number since.
    return Holder.ALIVE if _started_at(int(pid)) == started_at else Holder.DEAD


def _machine() -> str:
    """This boot and this space of process numbers; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started_at(pid: int) -> str:
    """In ticks since the boot; empty if there is no such process (a zombie holds nothing any more)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
