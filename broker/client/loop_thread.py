"""An event loop of its own in a daemon thread, for callers that have none.

Owns: the thread and its loop. A forked child (Celery's prefork pool) inherits the object but not the thread,
and its selector is the parent's very own, so a child must neither use nor free it (``on_thread.py`` sees to that).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

STOP_TIMEOUT_SECONDS = 5.0


class LoopThread:
    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result], timeout_seconds: float) -> Result:
        """Run on the loop and wait. Past the deadline the work is cancelled and ``TimeoutError`` raised."""
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a blocking call on the client's own loop would wait for itself")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_seconds)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the thread and free the loop. Only from the process that started it."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_TIMEOUT_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()
