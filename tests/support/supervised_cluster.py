"""Three brokers under a real supervisor for tests: ``manage.py up --only broker`` in a home of its own, and its control socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from broker.supervisor.control_client import SupervisorClient
from tests.support.ports import TWIN, free_kafka_port
from tests.support.wait import wait_until

READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0
_REPOSITORY = Path(__file__).resolve().parents[2]


class SupervisedCluster:
    """``with SupervisedCluster(tmp_path / "home") as cluster: cluster.bootstrap, cluster.pids()``."""

    def __init__(self, home: Path, brokers: int = 3, **environment: str) -> None:
        self.home = home
        self.ids = tuple(range(1, brokers + 1))
        self.control = SupervisorClient(home / "control.sock")
        self._port = free_kafka_port(brokers)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._output = home.parent / f"{home.name}-up.txt"

    @property
    def environment(self) -> dict[str, str]:
        """For a worker, or whoever else belongs to it."""
        return {
            "OTTLA_HOME": str(self.home),
            "OTTLA_KAFKA": f"127.0.0.1:{self._port}",
            "OTTLA_BROKERS": str(len(self.ids)),
        }

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{self.port(broker)}" for broker in self.ids)

    @property
    def internal(self) -> list[str]:
        return [f"127.0.0.1:{self.port(broker) + TWIN}" for broker in self.ids]

    @property
    def screen(self) -> str:
        return self._output.read_text(errors="replace")

    def port(self, broker: int) -> int:
        return self._port + broker - 1

    def service(self, broker: int) -> dict[str, Any]:
        services = self.control.status()["services"]
        return next(one for one in services if one["name"] == f"broker-{broker}")

    def pids(self) -> dict[int, int]:
        """0: it has no process at the moment."""
        services = {one["name"]: one["pid"] or 0 for one in self.control.status()["services"]}
        return {broker: services[f"broker-{broker}"] for broker in self.ids}

    def stop_broker(self, broker: int) -> None:
        self.control.change("stop", f"broker-{broker}", "a test")

    def start_broker(self, broker: int) -> None:
        self.control.change("start", f"broker-{broker}", "a test")
        wait_until(lambda: self.service(broker)["state"] == "ready", f"broker {broker} is ready", seconds=60)

    def start(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--only", "broker"],
                cwd=_REPOSITORY,
                env={
                    **inherited,
                    **self.environment,
                    "DJANGO_SETTINGS_MODULE": "dashboard.project.settings",
                    **self._environment,
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._is_ready, "the brokers are ready", seconds=READY_SECONDS_MAX)
        except AssertionError:
            self.stop()
            raise

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"it ended before it was ready:\n{self.screen}")
        return "Ottla is ready" in self.screen

    def __enter__(self) -> SupervisedCluster:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
