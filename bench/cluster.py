"""Three broker processes under test in one home: started, killed, stopped and measured as one, or one by one.

Owns the processes. A benchmark that leaves by exception leaves no broker behind.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.process import cpu_seconds, free_run_of_ports, rss_mb

BROKERS = 3
STOP_SECONDS_MAX = 20


class RunningCluster(ABC):
    """What three processes have in common, whosever they are; broker ids begin at 1."""

    name: str
    ports: list[int]
    started_seconds: float
    """From the creation of the first process until the last one is ready."""
    home: Path
    processes: dict[int, subprocess.Popen[Any]]

    def __enter__(self) -> Self:
        began = time.monotonic()
        try:
            for broker_id in range(1, BROKERS + 1):
                self._spawn(broker_id)
            for broker_id in self.processes:
                self._wait_ready(broker_id)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.started_seconds = time.monotonic() - began
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_all()
        shutil.rmtree(self.home, ignore_errors=True)

    @abstractmethod
    def _spawn(self, broker_id: int) -> None: ...

    @abstractmethod
    def _wait_ready(self, broker_id: int) -> None:
        """Raises ``RuntimeError`` for a process that ended."""

    @abstractmethod
    def _end_all(self) -> None:
        """Leave no process behind."""

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def kill(self, broker_id: int) -> None:
        self.processes[broker_id].send_signal(signal.SIGKILL)

    def stop(self, broker_id: int) -> None:
        """Ask it to stop; does not wait."""
        self.processes[broker_id].terminate()

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self.processes.values())

    def rss_mb(self) -> float:
        return sum(rss_mb(process.pid) for process in self.processes.values())


class OttlaCluster(RunningCluster):
    """``with OttlaCluster(OTTLA_ACK_DURABILITY="os") as cluster: …``; ready is who printed his ``ready`` line."""

    name = "Ottla"

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self.ports = free_run_of_ports(BROKERS)
        self.home = Path(tempfile.mkdtemp(prefix="ottla-bench-"))
        self.started_seconds = 0.0
        self.processes = {}

    def _end_all(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            _end(process)

    def start_again(self, broker_id: int) -> None:
        """Returns when it accepts connections."""
        _end(self.processes[broker_id])
        self._spawn(broker_id)
        self._wait_ready(broker_id)

    def _spawn(self, broker_id: int) -> None:
        self.processes[broker_id] = subprocess.Popen(
            [sys.executable, "-m", "broker", "--id", str(broker_id)],
            env={
                **os.environ,
                "OTTLA_HOME": str(self.home),
                "OTTLA_KAFKA": f"127.0.0.1:{self.port}",
                "OTTLA_BROKERS": str(BROKERS),
                "OTTLA_LOG_LEVEL": "WARNING",
                "OTTLA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
                "OTTLA_MIN_INSYNC_REPLICAS": "2",
                **self._environment,
            },
            stdout=subprocess.PIPE,
            text=True,
        )

    def _wait_ready(self, broker_id: int) -> None:
        process = self.processes[broker_id]
        assert process.stdout is not None
        if not any(line.startswith("ready") for line in iter(process.stdout.readline, "")):
            raise RuntimeError(f"broker {broker_id} ended before it was ready (exit {process.wait()})")


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(timeout=STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
