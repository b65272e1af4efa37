"""Services small enough to watch closely: a Python one-liner each, in an installation made of nothing else."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from broker.supervisor.options import Endpoint, Options
from broker.supervisor.screen import Screen
from broker.supervisor.service import OutputSays, ServiceSpec
from broker.supervisor.supervisor import Supervisor

SERVES = "import signal; print('ready', flush=True); signal.sigwait({signal.SIGTERM}); print('bye', flush=True)"
IGNORES_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)\nwhile True: signal.pause()"
DIES = "raise SystemExit('the disk is on fire')"

# What `sigwait` waits for must be blocked, or the signal ends the process before it is asked for.
SERVES = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); " + SERVES.partition("; ")[2]


def spec(name: str, script: str = SERVES, *, needs: tuple[str, ...] = (), stop_seconds: float = 3.0) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        role=name.partition("-")[0],
        argv=(sys.executable, "-S", "-c", script),
        readiness=OutputSays(pattern=re.compile("^ready")),
        needs=needs,
        stop_seconds=stop_seconds,
    )


class RecordingScreen(Screen):
    """Keeps the lines instead of printing them."""

    def __init__(self) -> None:
        super().__init__(io.StringIO())
        self.lines: list[str] = []

    def line(self, text: str, tone: str = "") -> None:
        self.lines.append(text)

    def said(self, pattern: str) -> bool:
        return any(re.search(pattern, line) for line in self.lines)


def options(home: Path) -> Options:
    return Options(
        home=home,
        brokers=1,
        kafka=Endpoint("127.0.0.1", 29092),
        http=Endpoint("127.0.0.1", 28000),
        only="",
        redis_url="",
        demo=False,
    )


class Installation:
    """A supervisor running in this process's loop, over the given services."""

    def __init__(self, home: Path, specs: Sequence[ServiceSpec], setup: Sequence[str] | None = None) -> None:
        home.mkdir(exist_ok=True)
        self.screen = RecordingScreen()
        self.options = options(home)
        self.supervisor = Supervisor(self.options, specs, {}, home, self.screen, setup)
        self.task = asyncio.create_task(self.supervisor.run())

    async def until(self, condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                if self.task.done():
                    self.task.result()
                    raise AssertionError(f"stopped before {what}: {self.screen.lines}")
                await asyncio.sleep(0.01)

    async def until_said(self, pattern: str) -> None:
        await self.until(lambda: self.screen.said(pattern), f"the screen says {pattern!r}")

    async def stop(self) -> int:
        self.supervisor.request_stop()
        return await self.task
