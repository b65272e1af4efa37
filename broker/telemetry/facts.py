"""Facts that belong to the whole broker process, as values: what composition tells the sampler each second."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """What the server counts. Counters only grow while the process lives."""

    connections: int = 0
    requests_total: int = 0
    connections_refused_total: int = 0
    connections_stalled_total: int = 0
    violations_total: int = 0
    unsent_bytes: int = 0
    throttled_total: int = 0
    throttled_ms_total: int = 0
    client_instances: int = 0


def rss_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not tell (no /proc)."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def cpu_seconds() -> float:
    """User and system time of this process."""
    return round(time.process_time(), 3)
