"""A real broker process for tests: free ports, a home of its own, started until ``ready``, stopped or killed.

Owns the process and its ports, which stay the same over restarts, as clients expect of a broker. Used by every test
that speaks to a broker over a socket; ``tests/conftest.py`` has a fixture with one for the whole session.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.support.ports import TWIN, free_kafka_port
from tests.support.verified import assert_log_is_sound
from tests.support.wire import Wire

READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 30.0
"""Both for a machine that has ten times as much to do as it can."""
_REPOSITORY = Path(__file__).resolve().parents[2]
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class BrokerProcess:
    """``with BrokerProcess(tmp_path, OTTLA_ACK_DURABILITY="os") as broker: ... broker.bootstrap``."""

    def __init__(
        self,
        home: Path,
        *,
        node_id: int = 1,
        sound: bool = True,
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
        **environment: str,
    ) -> None:
        """``sound=False``: the test damages files on purpose; otherwise they are verified when the test is over.

        ``prefix`` is a command that runs the broker elsewhere, as the very same process; there it has the address ``host``.
        """
        self.home = Path(home)
        self.host = host
        self._prefix = tuple(prefix)
        self._sound = sound
        self.node_id = node_id
        self.port = free_kafka_port()
        self.internal_port = self.port + TWIN
        self.ready_seconds = 0.0
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None
        self._output: list[str] = []
        self._reader: threading.Thread | None = None
        self._spoke = threading.Event()
        self._launched = 0.0

    def __enter__(self) -> BrokerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped_in_order = self.close()
        if error is None and self._sound and stopped_in_order:
            self.assert_sound()

    # Addresses --------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    def wire(self, *, timeout: float = 10.0) -> Wire:
        return Wire(self.port, timeout=timeout, host=self.host)

    @property
    def data_directory(self) -> Path:
        return self.home / f"broker-{self.node_id}"

    @property
    def cluster_secret(self) -> bytes:
        return bytes.fromhex((self.home / "cluster_secret").read_text().strip())

    # Life -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start and return when the broker has printed ``ready``."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start and return at once."""
        assert self._process is None or self._process.poll() is not None, "the broker is already running"
        self._launched = time.monotonic()
        self._output = []
        self._spoke = threading.Event()
        self._process = subprocess.Popen(
            [*self._prefix, sys.executable, "-m", "broker", "--id", str(self.node_id), "--home", str(self.home)],
            cwd=_REPOSITORY,
            env=self._full_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_output, args=(self._process, self._spoke), daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        self._spoke.wait(READY_SECONDS_MAX)
        if not any(line.startswith("ready") for line in self._output):
            self.close()
            raise AssertionError(f"the broker did not become ready:\n{self.output}")
        self.ready_seconds = time.monotonic() - self._launched

    def stop(self) -> int:
        """SIGTERM, wait, and return the exit status."""
        process = self._running()
        process.terminate()
        return self._wait(process)

    def kill(self) -> None:
        """kill -9: nothing is flushed, no marker is left."""
        process = self._running()
        process.kill()
        self._wait(process)

    def terminate(self) -> None:
        """SIGTERM without waiting; ``close`` waits."""
        self._running().terminate()

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> bool:
        """Whatever state it is in, leave no process behind. True if it was running and stopped in order."""
        if not self.alive:
            return False
        self.terminate()
        return self.wait_stopped()

    def wait_stopped(self) -> bool:
        """After ``terminate``: True if it stopped in order; one that does not is killed."""
        process = self._process
        assert process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS_MAX)
        if process.poll() is None:
            process.kill()
        return self._wait(process) == 0

    def pause(self) -> None:
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running().send_signal(signal.SIGCONT)

    # Observing --------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def output(self) -> str:
        """Everything it printed since the last start, stdout and stderr."""
        return "".join(self._output)

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_BYTES

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def assert_sound(self, *, torn_tails_allowed: bool = False) -> None:
        """The files of a broker that does not run. One that was killed may have been interrupted in a write."""
        assert_log_is_sound(self.data_directory, gaps_allowed=True, torn_tails_allowed=torn_tails_allowed)

    # Inside -----------------------------------------------------------------------------------------

    def _full_environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
        # Broker 1 gets the port of OTTLA_KAFKA, broker N the one N - 1 above it.
        return {
            **inherited,
            "OTTLA_KAFKA": f"{self.host}:{self.port - self.node_id + 1}",
            "OTTLA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "PYTHONUNBUFFERED": "1",
            **self._environment,
        }

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None
        assert self._process.poll() is None, f"the broker ended by itself:\n{self.output}"
        return self._process

    def _wait(self, process: subprocess.Popen[str]) -> int:
        status = process.wait(STOP_SECONDS_MAX)
        if self._reader is not None:
            self._reader.join(STOP_SECONDS_MAX)
            self._reader = None
        return status

    def _read_output(self, process: subprocess.Popen[str], spoke: threading.Event) -> None:
        """Keep what it prints; set ``spoke`` when it is ready or has nothing more to say."""
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._output.append(line)
                if line.startswith("ready"):
                    spoke.set()
        spoke.set()
