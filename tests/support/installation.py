"""A whole Ottla for browser tests and pictures: ``manage.py up`` in a home of its own on free ports."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from broker.supervisor.control_client import SupervisorClient
from broker.supervisor.options import INTERNAL_PORT_OFFSET
from tests.support.ports import free_kafka_port, free_port
from tests.support.up_process import UpProcess

BROKERS_MAX = 3
ADMIN_NAME = "admin"
ADMIN_PASSWORD = "only-for-this-test-run"


class Installation(UpProcess):
    """``with Installation(tmp_path / "home") as ottla: ottla.url, ottla.bootstrap``."""

    def __init__(self, home: Path, **environment: str) -> None:
        super().__init__(home)
        self._kafka_port, self._http_port = free_kafka_port(BROKERS_MAX), free_port()
        self._environment = environment

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

    def service_pid(self, name: str) -> int:
        """The process behind a service, 0 while it has none."""
        services = SupervisorClient(self.home / "control.sock").status()["services"]
        return next((item["pid"] or 0 for item in services if item["name"] == name), 0)

    def kill_service(self, name: str) -> None:
        """kill -9; the supervisor starts it again by itself."""
        os.kill(self.service_pid(name), signal.SIGKILL)

    def arguments(self) -> list[str]:
        return ["--home", str(self.home), "--kafka", self.bootstrap, "--http", self.url.removeprefix("http://")]

    def settings(self) -> dict[str, str]:
        return {"OTTLA_ADMIN_PASSWORD": ADMIN_PASSWORD, "OTTLA_BROKERS": "1", **self._environment}
