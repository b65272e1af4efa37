"""One broker process under test: started on free ports in a fresh directory, measured from /proc, stopped.

Owns the process. A benchmark that leaves by exception leaves no broker behind.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

READY_SECONDS_MAX = 30
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def free_port_pair() -> int:
    """A client port whose internal port (+10000) is free as well."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port + 10_000 > 65_535:
            continue
        try:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port + 10_000))
        except OSError:
            continue
        return port


class BrokerUnderTest:
    """``with BrokerUnderTest(OTTLA_ACK_DURABILITY="os") as broker: …``

    ``started_seconds`` is from process creation to its ``ready`` line.
    """

    def __init__(self, **environment: str) -> None:
        self._environment = environment
        self.port = free_port_pair()
        self.home = Path(tempfile.mkdtemp(prefix="ottla-bench-"))
        self.started_seconds = 0.0
        self._process: subprocess.Popen[str] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> BrokerUnderTest:
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
                return self
        raise RuntimeError(f"the broker ended before it was ready (exit {self._process.wait()})")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    def cpu_seconds(self) -> float:
        """User plus system time of the process since its start."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def rss_mb(self) -> float:
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
