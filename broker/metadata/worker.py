"""One thread that owns one blocking resource.

Owns: the hand-over between an event loop and that thread. Jobs run in order; between jobs, every ``idle_interval``
seconds, ``on_idle`` runs there too, so that polling costs the event loop nothing.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class WorkerClosed(RuntimeError):
    """A job was submitted after ``close``."""


class Worker:
    def __init__(self, name: str, on_idle: Callable[[], None], idle_interval: float) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._on_idle = on_idle
        self._idle_interval = idle_interval
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def run(self, job: Callable[[], T]) -> T:
        """Run ``job`` in the thread and await its result. A cancelled waiter does not stop a job that has begun."""
        if self._closed:
            raise WorkerClosed(self._thread.name)
        future: Future[T] = Future()
        self._jobs.put((future, job))
        return await asyncio.wrap_future(future)

    async def close(self, last_job: Callable[[], None]) -> None:
        """Run ``last_job`` after all others and wait for the thread to end."""
        if self._closed:
            return
        self._closed = True
        future: Future[None] = Future()
        self._jobs.put((future, last_job))
        self._jobs.put(None)
        try:
            await asyncio.wrap_future(future)
        finally:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        while True:
            try:
                item = self._jobs.get(timeout=self._idle_interval)
            except queue.Empty:
                self._on_idle()
                continue
            if item is None:
                return
            future, job = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as error:  # noqa: BLE001 - whatever it is belongs to the one who awaits the job
                future.set_exception(error)
            else:
                future.set_result(result)
