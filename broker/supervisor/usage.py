"""Memory and CPU of a process and its descendants, as the kernel counts them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

SAMPLE_SECONDS_MIN = 0.5
"""A shorter interval would make the CPU figure noise; asked sooner, the last sample is given again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSample:
    memory_bytes: int
    """Resident, summed over the tree; pages shared by parent and child count twice."""
    cpu_percent: float | None
    """Of one core since the previous sample; None until there are two."""


class Usage:
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._last: UsageSample | None = None
        self._last_at = 0.0
        self._last_cpu: dict[int, float] = {}

    def sample(self) -> UsageSample | None:
        """None when the process has just gone."""
        now = time.monotonic()
        if self._last is not None and now - self._last_at < SAMPLE_SECONDS_MIN:
            return self._last
        try:
            process = psutil.Process(self._pid)
            tree = [process, *process.children(recursive=True)]
        except psutil.Error:
            return None
        memory, cpu = _measure(tree)
        percent = None
        if self._last_cpu:
            # Only processes seen both times: one that appeared in between has no starting point.
            used = sum(seconds - self._last_cpu[pid] for pid, seconds in cpu.items() if pid in self._last_cpu)
            percent = round(100 * max(0.0, used) / (now - self._last_at), 1)
        self._last, self._last_at, self._last_cpu = UsageSample(memory_bytes=memory, cpu_percent=percent), now, cpu
        return self._last


def _measure(tree: list[psutil.Process]) -> tuple[int, dict[int, float]]:
    memory = 0
    cpu: dict[int, float] = {}
    for process in tree:
        try:
            with process.oneshot():
                memory += process.memory_info().rss
                times = process.cpu_times()
                cpu[process.pid] = times.user + times.system
        except psutil.Error:
            continue
    return memory, cpu
