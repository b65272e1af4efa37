"""The only place of the dashboard that talks to the supervisor.

Owns: the view of a service that pages render (``ServiceRow``) and the rules of what a person may do to which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.conf import settings

from broker.supervisor.control_client import SupervisorClient, SupervisorRefused, SupervisorUnreachable
from broker.supervisor.service import ServiceState

COMMANDS = ("stop", "start", "restart")
LOG_LINES = 200
LINE_SHOWN_MAX = 300
_LINE_START = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d+ [A-Z]+ |^\d+:[A-Z] \d+ \w+ \d{4} [\d:.]+ [*#.-] ")

LEVELS = {
    ServiceState.READY: "good",
    ServiceState.STARTING: "warn",
    ServiceState.STOPPING: "warn",
    ServiceState.BACKING_OFF: "bad",
    ServiceState.STOPPED: "idle",
}
PURPOSES = {
    "redis": "job queue and live channel; holds no records",
    "broker": "the records and the groups",
    "collector": "live numbers",
    "worker": "background jobs such as retention",
    "beat": "schedules the jobs",
    "web": "these pages",
    "demo": "writes and reads this machine's metrics, to have something to look at",
}
EFFECTS = {
    ("broker", "stop"): (
        "Its clients are disconnected; partitions that only it holds cannot be written or read until it is started again.",
        "Nothing that was acknowledged is lost: its logs are flushed and closed first.",
    ),
    ("broker", "restart"): (
        "Its clients are disconnected and connect again; most notice a pause of about a second.",
        "Nothing that was acknowledged is lost: its logs are flushed and closed first.",
    ),
    ("broker", "start"): ("It opens its logs and takes its partitions back.",),
    ("collector", "stop"): ("Live numbers stop and are marked stale. Records are not affected.",),
    ("collector", "restart"): ("Live numbers pause for a few seconds. Rates show a gap.",),
    ("worker", "stop"): (
        "Retention stops deleting: disks fill if this lasts. Jobs wait in the queue.",
        "A job that runs is given a few seconds, then handed to the next worker.",
    ),
    ("worker", "restart"): ("A job that runs is given a few seconds, then handed to the new worker.",),
    ("beat", "stop"): ("No further retention run is scheduled: disks fill if this lasts.",),
    ("redis", "restart"): ("Waiting jobs and the live numbers of the last 15 minutes are lost; both fill again.",),
}
FORBIDDEN = {
    ("web", "stop"): "These pages come from it.",
    ("web", "restart"): "These pages come from it.",
    ("redis", "stop"): "Jobs and live pages, this one too, need it.",
}


class SupervisorError(Exception):
    """``str()`` is what the user reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow:
    name: str
    role: str
    state: ServiceState
    pid: int | None
    started_at_ms: int
    """-1 while it does not run."""
    restarts: int
    last_exit: str
    next_start_seconds: float | None
    memory_bytes: int | None
    cpu_percent: float | None
    address: str
    command: str
    log_path: str
    last_lines: tuple[str, ...]

    @property
    def level(self) -> str:
        return LEVELS[self.state]

    @property
    def purpose(self) -> str:
        return PURPOSES.get(self.role, "")

    @property
    def trouble(self) -> str:
        """What is wrong, in words; empty when nothing is."""
        if self.state is not ServiceState.BACKING_OFF:
            return ""
        when = "now" if not self.next_start_seconds else f"in {max(1, round(self.next_start_seconds))} s"
        return f"It {self.last_exit}; next attempt {when}."

    @property
    def last_line(self) -> str:
        """What it said last, without the time and level that most lines begin with."""
        said = next((line for line in reversed(self.last_lines) if line.strip()), "")
        return _LINE_START.sub("", said)[:LINE_SHOWN_MAX]

    def refusal(self, command: str) -> str:
        """Why the command makes no sense for it now; empty when it may be given."""
        forbidden = FORBIDDEN.get((self.role, command), "")
        if forbidden:
            return forbidden
        if command == "start" and self.state in (ServiceState.READY, ServiceState.STARTING):
            return "It runs already."
        if command != "start" and self.state in (ServiceState.STOPPED, ServiceState.STOPPING):
            return "It does not run."
        return ""

    @property
    def commands(self) -> list[tuple[str, str]]:
        """(command, why it is not possible or empty), only those worth a button."""
        order = ("start",) if self.state in (ServiceState.STOPPED, ServiceState.STOPPING) else ("restart", "stop")
        return [(command, self.refusal(command)) for command in order]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    sampled_at_ms: int
    home: str
    rows: tuple[ServiceRow, ...]

    @property
    def level(self) -> str:
        return next(
            (level for level in ("bad", "warn", "idle") if any(row.level == level for row in self.expected)), "good"
        )

    @property
    def verdict(self) -> str:
        """One sentence."""
        failing = [row.name for row in self.expected if row.level == "bad"]
        moving = [row.name for row in self.expected if row.level == "warn"]
        stopped = [row.name for row in self.expected if row.level == "idle"]
        if failing:
            return f"{_names(failing)} {'keeps' if len(failing) == 1 else 'keep'} failing."
        if stopped:
            return f"{_names(stopped)} {'is' if len(stopped) == 1 else 'are'} stopped."
        if moving:
            return f"{_names(moving)} {'is' if len(moving) == 1 else 'are'} starting or stopping."
        return f"All {len(self.expected)} services are ready."

    @property
    def expected(self) -> list[ServiceRow]:
        """Those that ought to run: the demo workload does only when somebody wants it."""
        return [row for row in self.rows if row.role != "demo" or row.state is not ServiceState.STOPPED]

    def find(self, name: str) -> ServiceRow | None:
        return next((row for row in self.rows if row.name == name), None)


@lru_cache(maxsize=1)
def supervisor_client() -> SupervisorClient:
    return SupervisorClient(settings.OTTLA_CONTROL_SOCKET)


def read_services() -> Services:
    """Raises ``SupervisorError``."""
    answer = _call(lambda client: client.status())
    return Services(
        sampled_at_ms=answer["sampled_at_ms"],
        home=answer["home"],
        rows=tuple(_row(item) for item in answer["services"]),
    )


def read_log(name: str) -> list[str]:
    return _call(lambda client: client.tail(name, LOG_LINES))


def change_service(command: str, name: str, actor: str) -> None:
    """Returns when it has happened. Raises ``SupervisorError``."""
    _call(lambda client: client.change(command, name, actor))


def effects(row: ServiceRow, command: str) -> tuple[str, ...]:
    return EFFECTS.get((row.role, command), ())


def _call(use: Any) -> Any:
    try:
        return use(supervisor_client())
    except SupervisorRefused as refusal:
        raise SupervisorError(f"The supervisor refused: {refusal}.") from refusal
    except SupervisorUnreachable as error:
        raise SupervisorError(
            "No supervisor answers: processes were started by something other than `manage.py up`, or it is gone."
        ) from error


def _row(item: dict[str, Any]) -> ServiceRow:
    return ServiceRow(
        name=item["name"],
        role=item["role"],
        state=ServiceState(item["state"]),
        pid=item["pid"],
        started_at_ms=-1 if item["started_at_ms"] is None else item["started_at_ms"],
        restarts=item["restarts"],
        last_exit=item["last_exit"],
        next_start_seconds=item["next_start_seconds"],
        memory_bytes=item["memory_bytes"],
        cpu_percent=item["cpu_percent"],
        address=item["address"],
        command=item["command"],
        log_path=item["log_path"],
        last_lines=tuple(item["last_lines"]),
    )


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
