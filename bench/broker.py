"""One broker process under test: started on free ports in a fresh directory, measured from /proc, stopped.

Owns the process. A benchmark that leaves by exception leaves no broker behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from bench.process import cpu_seconds, free_ports, rss_mb

READY_SECONDS_MAX = 30


class BrokerUnderTest:
    """``with BrokerUnderTest(OTTLA_ACK_DURABILITY="os") as broker: …``

    ``started_seconds`` is from process creation to its ``ready`` line.
    """

    name = "Ottla"

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        (self.port,) = free_ports(1)
        self.home = Path(tempfile.mkdtemp(prefix="ottla-bench-"))
        self.started_seconds = 0.0
        self._process: subprocess.Popen[str] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> BrokerUnderTest:
        self.start()
        return self

    def start(self) -> None:
        began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "broker", "--id", "1"],
            env={
                **os.environ,
                "OTTLA_HOME": str(self.home),
                "OTTLA_KAFKA": self.bootstrap,
                "OTTLA_LOG_LEVEL": "WARNING",
                "OTTLA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
                **self._environment,
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("ready"):
                self.started_seconds = time.monotonic() - began
                return
        raise RuntimeError(f"the broker ended before it was ready (exit {self._process.wait()})")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def cpu_seconds(self) -> float:
        assert self._process is not None
        return cpu_seconds(self._process.pid)

    def rss_mb(self) -> float:
        assert self._process is not None
        return rss_mb(self._process.pid)
