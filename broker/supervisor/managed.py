"""Keeps one service in the state that is wanted: starts it, notices its death, starts it again, stops it.

One task per service owns everything about it (``_run``); the supervisor and the control socket only say what
is wanted. Theory of operation and states: ``service.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from broker.supervisor.backoff import Backoff
from broker.supervisor.child import Child
from broker.supervisor.logs import ServiceLog
from broker.supervisor.screen import Screen
from broker.supervisor.service import (
    Answers,
    OutputSays,
    ServiceSpec,
    ServiceState,
    ServiceStatistics,
    describe_exit,
)
from broker.supervisor.usage import Usage

PROBE_INTERVAL_SECONDS = 0.1
SLOW_SECONDS = 30.0
"""Not ready after this long is said on the screen; a broker that recovers a large log may take its time."""
LAST_LINES = 20


class ManagedService:
    def __init__(
        self, spec: ServiceSpec, environ: Mapping[str, str], cwd: Path, log_directory: Path, screen: Screen
    ) -> None:
        self.spec = spec
        self.state = ServiceState.STOPPED
        self.restarts = 0
        self._environ = {**environ, **spec.environment}
        self._cwd = cwd
        self._screen = screen
        self._log = ServiceLog(
            log_directory / f"{spec.name}.log", lambda line: screen.child_line(spec.name, line), time.monotonic
        )
        self._child: Child | None = None
        self._usage: Usage | None = None
        self._backoff = Backoff()
        self._started = 0.0
        self._started_at_ms = 0
        self._next_start = 0.0
        self._last_exit = ""
        self._wanted = False
        self._changed = asyncio.Event()
        """Set when ``_wanted`` changes, so that a back-off wait ends at once."""
        self._ready = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # What is wanted ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Idempotent. Ends a back-off wait."""
        self._wanted = True
        self._changed.set()
        if self._task is None or self._task.done():
            self._backoff.reset()
            self._task = asyncio.create_task(self._run(), name=self.spec.name)

    def release(self) -> None:
        """Let it run, but do not start it again when it ends: its turn to stop comes."""
        self._wanted = False
        self._changed.set()

    async def stop(self, seconds: float | None = None) -> None:
        """Returns when the process is gone: SIGTERM, and SIGKILL after ``seconds``."""
        self.release()
        if self._task is None:
            return
        if self._child is not None:
            self.state = ServiceState.STOPPING
            self._child.terminate()
        _, unfinished = await asyncio.wait({self._task}, timeout=self.spec.stop_seconds if seconds is None else seconds)
        if unfinished:
            self.kill("did not stop in time")
            await asyncio.wait({self._task})
        self._task.result()

    async def restart(self) -> None:
        await self.stop()
        self.start()

    def kill(self, why: str) -> None:
        if self._child is not None:
            self._screen.status(self.spec.name, f"{why}; killed", "bad")
            self._log.note(f"{why}; sending SIGKILL")
            self._child.kill()

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def close(self) -> None:
        self._log.close()

    # What is so ----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """None while there is no process."""
        return self._child.pid if self._child is not None else None

    def statistics(self) -> ServiceStatistics:
        now = time.monotonic()
        usage = self._usage.sample() if self._usage is not None else None
        backing_off = self.state is ServiceState.BACKING_OFF
        return ServiceStatistics(
            name=self.spec.name,
            role=self.spec.role,
            state=self.state,
            pid=self.pid,
            started_at_ms=self._started_at_ms if self._child is not None else None,
            uptime_seconds=now - self._started if self._child is not None else None,
            restarts=self.restarts,
            last_exit=self._last_exit,
            next_start_seconds=max(0.0, self._next_start - now) if backing_off else None,
            memory_bytes=usage.memory_bytes if usage is not None else None,
            cpu_percent=usage.cpu_percent if usage is not None else None,
            address=self.spec.address,
            command=shlex.join((os.path.basename(self.spec.argv[0]), *self.spec.argv[1:])),
            log_path=str(self._log.path),
            last_lines=tuple(self._log.tail(LAST_LINES)),
        )

    def tail(self, count: int) -> list[str]:
        return self._log.tail(count)

    # The life of the process ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while self._wanted:
            uptime = await self._run_once()
            if not self._wanted:
                break
            await self._back_off(uptime)
        self.state = ServiceState.STOPPED

    async def _run_once(self) -> float:
        """From start to exit. Returns how long the process lived."""
        self.state = ServiceState.STARTING
        self._ready.clear()
        self._started = time.monotonic()
        self._started_at_ms = time.time_ns() // 1_000_000
        try:
            child = await Child.spawn(self.spec.argv, self._environ, self._cwd, self._on_output)
        except OSError as error:
            self._ended(f"cannot be started: {error}")
            return 0.0
        self._child = child
        self._usage = Usage(child.pid)
        self._log.note(f"started, pid {child.pid}: {shlex.join(self.spec.argv)}")
        if not self._wanted:
            # Asked to stop while the process was being made.
            self.state = ServiceState.STOPPING
            child.terminate()
        watcher = asyncio.create_task(self._watch_readiness())
        try:
            code = await child.wait()
        finally:
            self._child = self._usage = None
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        self._ended(describe_exit(code))
        return time.monotonic() - self._started

    async def _back_off(self, uptime: float) -> None:
        delay = self._backoff.next_delay(uptime)
        self.restarts += 1
        self.state = ServiceState.BACKING_OFF
        self._next_start = time.monotonic() + delay
        self._screen.status(self.spec.name, f"{self._last_exit}; restart {self.restarts} in {delay:g} s", "bad")
        if self._last_exit.startswith("exited") and (words := self._log.last_words()):
            self._screen.child_line(self.spec.name, words)
        self._changed.clear()
        try:
            async with asyncio.timeout(delay):
                await self._changed.wait()
        except TimeoutError:
            return

    def _ended(self, how: str) -> None:
        self._last_exit = how
        self._ready.clear()
        self._log.note(how)
        if not self._wanted:
            self._screen.status(self.spec.name, "stopped")

    async def _watch_readiness(self) -> None:
        slow = asyncio.get_running_loop().call_later(
            SLOW_SECONDS,
            lambda: self._screen.status(self.spec.name, f"still starting; see {self._log.path}", "warn"),
        )
        try:
            if isinstance(self.spec.readiness, Answers):
                while not await self.spec.readiness.probe():  # noqa: ASYNC110  (another process; nothing to wait on)
                    await asyncio.sleep(PROBE_INTERVAL_SECONDS)
                self._is_ready()
            else:
                await self._ready.wait()
        finally:
            slow.cancel()

    def _on_output(self, data: bytes) -> None:
        lines = self._log.feed(data)
        readiness = self.spec.readiness
        if not isinstance(readiness, OutputSays) or self._ready.is_set():
            return
        if any(readiness.pattern.search(line) for line in lines):
            self._is_ready()

    def _is_ready(self) -> None:
        if self.state is not ServiceState.STARTING or self._child is None:
            return
        self.state = ServiceState.READY
        self._ready.set()
        seconds = time.monotonic() - self._started
        text = f"ready in {seconds:.1f} s, pid {self._child.pid}"
        self._screen.status(self.spec.name, f"{text}, {self.spec.address}" if self.spec.address else text, "good")
