"""What a managed process is: its description, the states it goes through, what can be said about it. Pure.

stopped ──start──▶ starting ──sign of readiness──▶ ready
   ▲                  │ ▲                            │
   │                exit └──delay over── backing off ◀── exit
   └──────────── stopping ◀── stop, from any state ──┘
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ServiceState(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing off"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSays:
    """Ready when a line of the output matches."""

    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Ready when the probe, asked again and again, returns true."""

    probe: Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    name: str
    role: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beyond what every process gets."""
    readiness: OutputSays | Answers
    needs: tuple[str, ...] = ()
    """Services that have to be ready before this one is started for the first time."""
    needs_setup: bool = False
    """Migrations and static files have to be in place before it starts."""
    autostart: bool = True
    """Started with everything else; otherwise only when somebody asks for it through the control socket."""
    stop_seconds: float = 8.0
    """Between SIGTERM and SIGKILL when it is stopped by itself; a broker with many logs is given its time."""
    address: str = ""
    """For people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatistics:
    name: str
    role: str
    state: ServiceState
    pid: int | None
    started_at_ms: int | None
    """Wall clock of the process's start, for showing; ``uptime_seconds`` is what was measured."""
    uptime_seconds: float | None
    restarts: int
    """Times it was started again after dying by itself."""
    last_exit: str
    """How it ended the last time; empty when it never did."""
    next_start_seconds: float | None
    """While backing off: until the next attempt."""
    memory_bytes: int | None
    cpu_percent: float | None
    address: str
    command: str
    log_path: str
    last_lines: tuple[str, ...]


def describe_exit(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    names = {1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 6: "SIGABRT", 9: "SIGKILL", 11: "SIGSEGV", 15: "SIGTERM"}
    return f"was ended by {names.get(-code, f'signal {-code}')}"
