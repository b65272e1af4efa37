"""This machine's own figures as records: the real data of the demo workload.

Owns: reading psutil once a tick and shaping (key, value) pairs. A counter is reported as its change since the
previous tick, so each value stands for itself. Nothing here knows Kafka.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil

PROCESSES_MAX = 25
Reading = tuple[str, dict[str, Any]]


class MachineMetrics:
    """Keeps the previous counters. The first tick reports no changes, only levels."""

    def __init__(self) -> None:
        self._network = psutil.net_io_counters(pernic=True)
        self._disks = psutil.disk_io_counters(perdisk=True) or {}

    def levels(self) -> Iterator[Reading]:
        """CPU of each core, memory, load, and what moved on each network card and disk since the last call."""
        for core, percent in enumerate(psutil.cpu_percent(percpu=True)):
            yield f"cpu{core}", {"metric": "cpu", "core": core, "percent": percent}
        memory = psutil.virtual_memory()
        yield "memory", {"metric": "memory", "used_bytes": memory.used, "available_bytes": memory.available}
        load = psutil.getloadavg()
        yield "load", {"metric": "load", "one_minute": load[0], "five_minutes": load[1]}
        yield from self._changes()

    def _changes(self) -> Iterator[Reading]:
        network = psutil.net_io_counters(pernic=True)
        for name, now in network.items():
            if before := self._network.get(name):
                yield (
                    f"net-{name}",
                    {
                        "metric": "network",
                        "card": name,
                        "sent_bytes": now.bytes_sent - before.bytes_sent,
                        "received_bytes": now.bytes_recv - before.bytes_recv,
                    },
                )
        self._network = network
        disks = psutil.disk_io_counters(perdisk=True) or {}
        for name, counters in disks.items():
            if earlier := self._disks.get(name):
                yield (
                    f"disk-{name}",
                    {
                        "metric": "disk",
                        "disk": name,
                        "read_bytes": counters.read_bytes - earlier.read_bytes,
                        "written_bytes": counters.write_bytes - earlier.write_bytes,
                    },
                )
        self._disks = disks


def busiest_processes() -> Iterator[Reading]:
    """The processes with the most memory, largest first; one that ends while it is read is left out."""
    found = [
        process.info
        for process in psutil.process_iter(["pid", "name", "memory_info", "num_threads"])
        if process.info["memory_info"] is not None
    ]
    found.sort(key=lambda info: info["memory_info"].rss, reverse=True)
    for info in found[:PROCESSES_MAX]:
        yield (
            str(info["pid"]),
            {
                "pid": info["pid"],
                "name": info["name"],
                "rss_bytes": info["memory_info"].rss,
                "threads": info["num_threads"],
            },
        )
