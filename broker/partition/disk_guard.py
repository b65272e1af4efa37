"""The disk-pressure guard: refuses produce before the disk is full, whatever else is down.

Asked on the produce path, so it looks at the disk once per ``CHECK_SECONDS``, and more often the nearer the floor is:
a producer writes a quarter of a gigabyte between two looks a second apart, which is the whole default floor. Reading,
deleting and retention go on below the floor: they are what brings the space back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0
CHECK_SECONDS_MIN = 0.01
WRITE_BYTES_PER_SECOND_MAX = 1_000_000_000
"""What one broker can append at the very most; the next look comes before that could use up what is left."""


class DiskGuard:
    __slots__ = ("_disk_usage", "_floor_bytes", "_next_check", "_reason", "free_bytes", "total_bytes")

    def __init__(self, disk_usage: Callable[[], tuple[int, int]], *, floor_bytes: int) -> None:
        """``disk_usage`` returns (free, total) bytes of the log directory's file system."""
        self._disk_usage = disk_usage
        self._floor_bytes = floor_bytes
        self._next_check = 0.0
        self._reason = ""
        self.free_bytes = -1
        self.total_bytes = -1

    def refusal(self, now: float) -> str:
        """Why produce is refused at monotonic second ``now``; empty when it is not."""
        if now >= self._next_check:
            self._check()
            self._next_check = now + self._seconds_to_next_check()
        return self._reason

    def _seconds_to_next_check(self) -> float:
        left = self.free_bytes - self._floor_bytes
        if self.free_bytes < 0 or left < 0:
            return CHECK_SECONDS
        return min(CHECK_SECONDS, max(CHECK_SECONDS_MIN, left / WRITE_BYTES_PER_SECOND_MAX))

    def _check(self) -> None:
        try:
            self.free_bytes, self.total_bytes = self._disk_usage()
        except OSError as error:
            # Not knowing is not a reason to refuse: an append that cannot be written fails by itself.
            logger.warning("free space of the log directory is unknown: %s", error)
            self.free_bytes = self.total_bytes = -1
        below = 0 <= self.free_bytes < self._floor_bytes
        reason = (
            f"{self.free_bytes} bytes are free on the disk of the log directory, "
            f"less than disk.free.floor.bytes={self._floor_bytes}"
            if below
            else ""
        )
        if bool(reason) != bool(self._reason):
            logger.warning("produce is refused: %s", reason) if reason else logger.warning("produce is accepted again")
        self._reason = reason
