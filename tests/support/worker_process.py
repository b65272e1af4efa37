"""A real Celery worker of this project for tests, started until it is ready, stopped or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

from broker.supervisor.queues import queues_on_machine_of

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0
_REPOSITORY = Path(__file__).resolve().parents[2]


class WorkerProcess:
    """``environment`` are the ``OTTLA_*`` settings it works with; two run at a time unless said otherwise. It consumes
    the queue of broker 1 besides the common one."""

    def __init__(self, environment: dict[str, str], *, concurrency: int = 2) -> None:
        self._environment = environment
        self._concurrency = concurrency
        self._process: subprocess.Popen[str] | None = None
        self._output: list[str] = []
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Return when it takes tasks."""
        self._output = []
        ready = threading.Event()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "dashboard.project.celery:app", "worker"),
                *("--concurrency", str(self._concurrency), "--loglevel", "INFO"),
                *("--queues", ",".join(queues_on_machine_of([1]))),
                *("--without-gossip", "--without-mingle", "--without-heartbeat"),
            ],
            cwd=_REPOSITORY,
            env=self._full_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_output, args=(self._process, ready), daemon=True)
        self._reader.start()
        if not ready.wait(READY_SECONDS_MAX) or self._process.poll() is not None:
            self.kill()
            raise AssertionError(f"the worker did not become ready:\n{self.output}")

    @property
    def output(self) -> str:
        return "".join(self._output)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9 for the worker and the processes of its pool."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            if how is signal.SIGKILL:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.send_signal(how)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS_MAX)
        if self._reader is not None:
            self._reader.join(STOP_SECONDS_MAX)

    def _full_environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
        return {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "dashboard.project.settings",
            "PYTHONUNBUFFERED": "1",
            "OTTLA_BROKERS": "1",
            **self._environment,
        }

    def _read_output(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._output.append(line)
                if " ready." in line:
                    ready.set()
        ready.set()

    def __enter__(self) -> WorkerProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
