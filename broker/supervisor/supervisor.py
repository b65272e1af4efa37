"""The whole installation on one machine: everything up in the order of need, kept up, down in order.

Owns the services, the control socket and the two signals. One instance per ``OTTLA_HOME``; the lock is held by
the caller. Nothing is started before every port has been found free.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from broker.supervisor.child import Child
from broker.supervisor.control import Answer, ControlRefused, ControlServer
from broker.supervisor.managed import ManagedService
from broker.supervisor.options import Options
from broker.supervisor.roles import STOP_PHASES, StopPhase
from broker.supervisor.screen import Screen
from broker.supervisor.service import ServiceSpec

TAIL_LINES_MAX = 200
IMPATIENT_AFTER_SECONDS = 1.0


class SetupFailed(Exception):
    """The set-up command did not succeed; what it said is on the screen."""


class Supervisor:
    def __init__(
        self,
        options: Options,
        specs: Sequence[ServiceSpec],
        environ: Mapping[str, str],
        cwd: Path,
        screen: Screen,
        setup: Sequence[str] | None = None,
        setup_environ: Mapping[str, str] | None = None,
    ) -> None:
        """``setup``: a command that must have succeeded before services with ``needs_setup`` start."""
        self._options = options
        self._screen = screen
        self._environ = environ
        self._cwd = cwd
        self._setup = setup
        self._setup_environ = setup_environ or environ
        self._started = time.monotonic()
        self._specs = list(specs)
        self._services: dict[str, ManagedService] = {
            spec.name: ManagedService(spec, environ, cwd, options.home / "logs", screen) for spec in specs
        }
        self._control = ControlServer(options.control_socket, self._handle)
        self._stop_requested = asyncio.Event()
        self._setup_done = asyncio.Event()
        self._setup_child: Child | None = None
        self._stop_asked_at = 0.0
        self._changing: set[str] = set()
        self._failed = ""

    async def run(self) -> int:
        """Until a signal, or until set-up fails. Returns the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.request_stop, number)
        await self._control.start()
        start = asyncio.create_task(self._start())
        try:
            await self._stop_requested.wait()
        finally:
            start.cancel()
            await asyncio.gather(start, return_exceptions=True)
            await self._stop()
            await self._control.stop()
            for service in self._services.values():
                service.close()
        if self._failed:
            self._screen.line(self._failed, "bad")
            return 1
        self._screen.line("Ottla has stopped.")
        return 0

    # Up ------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._run_setup())
                for service in self._services.values():
                    if service.spec.autostart:
                        tasks.create_task(self._start_service(service))
        except* SetupFailed as failures:
            self._failed = str(failures.exceptions[0])
            self._stop_requested.set()
        else:
            self._screen.ready(self._options, self._specs, time.monotonic() - self._started)

    async def _start_service(self, service: ManagedService) -> None:
        if service.spec.needs_setup:
            await self._setup_done.wait()
        for name in service.spec.needs:
            await self._services[name].wait_ready()
        service.start()
        await service.wait_ready()

    async def _run_setup(self) -> None:
        if self._setup is not None:
            self._screen.status("set-up", "migrations, static files, administrator")
            output = bytearray()
            self._setup_child = await Child.spawn(self._setup, self._setup_environ, self._cwd, output.extend)
            code = await self._setup_child.wait()
            self._setup_child = None
            for line in output.decode("utf-8", "replace").splitlines():
                self._screen.status("set-up", line, "bad" if code else "")
            if code:
                raise SetupFailed("Ottla could not be set up; nothing is left running.")
        self._setup_done.set()

    # Down ----------------------------------------------------------------------------------------------

    def request_stop(self, number: int = signal.SIGTERM) -> None:
        """What a signal does. After a second Ctrl-C nobody is waited for any more.

        One wish may arrive as several signals: make and service managers send it to a process and to its whole
        group. Only a person's second Ctrl-C, a while after the first, is a wish of its own.
        """
        now = time.monotonic()
        if not self._stop_requested.is_set():
            self._screen.line("Stopping.")
            self._stop_asked_at = now
            self._stop_requested.set()
        elif number == signal.SIGINT and now - self._stop_asked_at >= IMPATIENT_AFTER_SECONDS:
            for service in self._services.values():
                service.kill("asked again to stop")

    async def _stop(self) -> None:
        if self._setup_child is not None:
            self._setup_child.kill()
            await self._setup_child.wait()
        for service in self._services.values():
            service.release()
        deadline = time.monotonic()
        for phase in STOP_PHASES:
            deadline += phase.seconds
            await self._stop_phase(phase, deadline)

    async def _stop_phase(self, phase: StopPhase, deadline: float) -> None:
        stopping: set[asyncio.Task[None]] = set()
        for roles, patience in phase.groups:
            group = [service for service in self._services.values() if service.spec.role in roles]
            asked = {asyncio.create_task(service.stop(deadline - time.monotonic())) for service in group}
            if asked:
                await asyncio.wait(asked, timeout=patience)
            stopping |= asked
        await asyncio.gather(*stopping)

    # Control socket ------------------------------------------------------------------------------------

    async def _handle(self, request: Mapping[str, Any]) -> Answer:
        command = request.get("command")
        if command == "status":
            return self._status()
        service = self._services.get(str(request.get("name")))
        if service is None:
            raise ControlRefused(f"no service is called {request.get('name')!r}; there are {', '.join(self._services)}")
        if command == "tail":
            lines = request.get("lines", TAIL_LINES_MAX)
            return {"lines": service.tail(min(lines if isinstance(lines, int) else TAIL_LINES_MAX, TAIL_LINES_MAX))}
        if command in ("stop", "start", "restart"):
            await self._change(service, command, str(request.get("actor") or "somebody"), request.get("pid"))
            return {}
        raise ControlRefused(f"no command is called {command!r}")

    def _status(self) -> Answer:
        return {
            "pid": os.getpid(),
            "home": str(self._options.home),
            "sampled_at_ms": time.time_ns() // 1_000_000,
            "uptime_seconds": time.monotonic() - self._started,
            "services": [dataclasses.asdict(service.statistics()) for service in self._services.values()],
        }

    async def _change(self, service: ManagedService, command: str, actor: str, pid: object) -> None:
        """``pid``: of the process it is meant for; None when it does not matter which."""
        name = service.spec.name
        if self._stop_requested.is_set():
            raise ControlRefused("everything is being stopped")
        if name in self._changing:
            raise ControlRefused(f"another change of {name} is under way")
        if pid is not None and pid != service.pid:
            raise ControlRefused(f"{name} has another process by now")
        self._changing.add(name)
        try:
            self._screen.status(name, f"{command} asked for by {_one_line(actor)}", "warn")
            if command == "stop":
                await service.stop()
            elif command == "start":
                service.start()
            else:
                await service.restart()
        finally:
            self._changing.discard(name)


def _one_line(text: str) -> str:
    return "".join(character for character in text if character.isprintable())[:64]
