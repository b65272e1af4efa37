"""How fast a compaction run may read and write, and when it has to stop.

Owns: the one counter that all its threads share. ``moved`` is called for every buffer: it waits when the run is ahead of
``log.cleaner.io.max.bytes.per.second``, and raises ``Stopped`` once the run was cancelled or has had its time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Stopped(Exception):
    """The run ends here; what was swapped stays."""


class Pace:
    def __init__(
        self,
        *,
        bytes_per_second_max: float,
        seconds_max: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = max(1.0, bytes_per_second_max)
        self._clock = clock
        self._began = clock()
        self._ends = self._began + seconds_max
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.moved_bytes = 0
        self.was_stopped_early = False
        """Somebody was told to stop before the work was done."""

    def stop(self) -> None:
        self._stop.set()

    def moved(self, byte_count: int) -> None:
        with self._lock:
            self.moved_bytes += byte_count
            ahead_seconds = self._began + self.moved_bytes / self._rate - self._clock()
        if ahead_seconds > 0:
            self._stop.wait(min(ahead_seconds, max(0.0, self._ends - self._clock())))
        self.check()

    def check(self) -> None:
        if self._stop.is_set() or self._clock() >= self._ends:
            self.was_stopped_early = True
            raise Stopped
