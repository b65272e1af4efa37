"""A whole Ottla for browser tests and pictures: ``manage.py up`` in a home of its own on free ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from broker.supervisor.control_client import SupervisorClient
from broker.supervisor.options import INTERNAL_PORT_OFFSET
from tests.support.ports import free_kafka_port, free_port
from tests.support.wait import wait_until

READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 20.0
BROKERS_MAX = 3
ADMIN_NAME = "admin"
ADMIN_PASSWORD = "only-for-this-test-run"
_REPOSITORY = Path(__file__).resolve().parents[2]


class Installation:
    """``with Installation(tmp_path / "home") as ottla: ottla.url, ottla.bootstrap``."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self._kafka_port, self._http_port = free_kafka_port(BROKERS_MAX), free_port()
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._output = home.parent / f"{home.name}-up.txt"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http_port}"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._kafka_port}"

    def bootstrap_of(self, broker_id: int) -> str:
        """Of one of several brokers (``OTTLA_BROKERS``)."""
        return f"127.0.0.1:{self._kafka_port + broker_id - 1}"

    def internal_of(self, broker_id: int) -> str:
        """Its listener for brokers and the dashboard, open to who has ``secret``."""
        return f"127.0.0.1:{self._kafka_port + INTERNAL_PORT_OFFSET + broker_id - 1}"

    @property
    def secret(self) -> bytes:
        return bytes.fromhex((self.home / "cluster_secret").read_text())

    @property
    def screen(self) -> str:
        return self._output.read_text(errors="replace")

    def service_pid(self, name: str) -> int:
        """The process behind a service, 0 while it has none."""
        services = SupervisorClient(self.home / "control.sock").status()["services"]
        return next((item["pid"] or 0 for item in services if item["name"] == name), 0)

    def kill_service(self, name: str) -> None:
        """kill -9; the supervisor starts it again by itself."""
        os.kill(self.service_pid(name), signal.SIGKILL)

    def start(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
        environment = {
            **inherited,
            "OTTLA_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "OTTLA_BROKERS": "1",
            "DJANGO_SETTINGS_MODULE": "dashboard.project.settings",
            **self._environment,
        }
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "manage.py", "up", "--home", str(self.home)),
                    *("--kafka", self.bootstrap, "--http", self.url.removeprefix("http://")),
                ],
                cwd=_REPOSITORY,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._is_ready, "Ottla is ready", seconds=READY_SECONDS_MAX)
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

    def __enter__(self) -> Installation:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
