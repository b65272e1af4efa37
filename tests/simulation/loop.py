"""The scheduler: an event loop whose time is virtual, shared by every simulated process.

Owns: the order in which everything happens. Time stands still while anything is ready to run and then jumps to the next
timer, so an hour costs what happens in it. Whoever runs belongs to a ``Process`` (a context variable, inherited by what it
starts): one that was killed never runs again, in whatever state it was, and one that is paused runs when it goes on.

Connections are the network's (``network.py``), worker threads are callbacks that come a little later.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import sys
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.network import Network

START_SECONDS = 1_000.0
THREAD_SECONDS_MAX = 0.003
"""What a worker thread takes at most to get to its work."""
HANDLES_MAX = 20_000_000


class Stuck(AssertionError):
    """Nothing is left that could ever happen, or too much happens at one moment."""


class Process:
    """Everything that dies together: a broker's life, or a client."""

    def __init__(self, name: str, host: str) -> None:
        self.name = name
        self.host = host
        self.dead = False
        self.paused = False
        self.held: list[asyncio.Handle] = []
        """What became due while it was paused."""
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = contextvars.copy_context()
        self.context.run(CURRENT.set, self)

    def __repr__(self) -> str:
        return self.name


CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
OUTSIDE = contextvars.Context()
"""Of whoever is no simulated process: faults, observers."""


@contextlib.contextmanager
def thrown_away() -> Iterator[None]:
    """What was killed in the middle complains when it is collected, and nobody has to hear it."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda unraisable: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.network: Network
        self.handles_run = 0
        self._now = START_SECONDS
        self._tasks: list[asyncio.Task[Any]] = []
        self.set_task_factory(_new_task)

    def time(self) -> float:
        return self._now

    # Running ----------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready: deque[asyncio.Handle] = self._ready
        scheduled: list[asyncio.TimerHandle] = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready and not self._stopping:
            if not scheduled:
                raise Stuck("nothing is left to happen")
            self._now = max(self._now, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self._dispatch(handle)

    def _dispatch(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(CURRENT)
        if process is not None:
            if process.dead:
                return
            if process.paused:
                process.held.append(handle)
                return
        self.handles_run += 1
        if self.handles_run > HANDLES_MAX:
            raise Stuck(f"{HANDLES_MAX} callbacks and no end")
        handle._run()

    def run_in(self, process: Process, work: Coroutine[Any, Any, Any], name: str = "") -> asyncio.Task[Any]:
        """Start ``work`` as a task of ``process``."""
        return process.context.run(self.create_task, work, name=name or process.name)

    def resume(self, process: Process) -> None:
        process.paused = False
        held, process.held = process.held, []
        self._ready.extend(handle for handle in held if not handle._cancelled)

    def end(self) -> list[str]:
        """Nothing runs any more. The failures of tasks that nobody looked at."""
        self.close()
        with thrown_away():
            return self._end_tasks()

    def _end_tasks(self) -> list[str]:
        unseen = []
        for task in self._tasks:
            if task.done():
                if task._log_traceback:
                    unseen.append(f"{task.get_coro()!r}: {task.exception()!r}")
                continue
            # It was killed, or stands where the story ended: what it would do at its end belongs to no story.
            task._log_destroy_pending = False
            with contextlib.suppress(Exception):
                task.get_coro().close()
        return unseen

    # What the loops of real brokers do with threads and sockets -------------------------------------------

    def run_in_executor(self, executor: Any, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self.create_future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = function(*args)
            except Exception as error:  # noqa: BLE001 - as an executor does
                future.set_exception(error)
            else:
                future.set_result(result)

        self.call_later(self.random.uniform(0, THREAD_SECONDS_MAX), run)
        return future

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        return await self.network.connect(protocol_factory, host, port)

    async def create_server(self, protocol_factory: Any, *args: Any, sock: Any = None, **options: Any) -> Any:
        return self.network.listen(protocol_factory, sock)

    def _process_events(self, event_list: list[Any]) -> None:
        """There are no file descriptors."""

    def _write_to_self(self) -> None:
        """There are no other threads."""


def _new_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    assert isinstance(loop, VirtualLoop)
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    # Referenced to the end: where it is collected must not depend on the collector.
    loop._tasks.append(task)
    return task
