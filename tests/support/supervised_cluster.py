"""Three brokers under a real supervisor for tests: ``manage.py up --only broker`` in a home of its own, and its control socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from broker.supervisor.control_client import SupervisorClient
from tests.support.ports import TWIN, free_kafka_port
from tests.support.up_process import UpProcess
from tests.support.wait import wait_until


class SupervisedCluster(UpProcess):
    """``with SupervisedCluster(tmp_path / "home") as cluster: cluster.bootstrap, cluster.pids()``."""

    def __init__(self, home: Path, brokers: int = 3, **environment: str) -> None:
        super().__init__(home)
        self.ids = tuple(range(1, brokers + 1))
        self.control = SupervisorClient(home / "control.sock")
        self._port = free_kafka_port(brokers)
        self._environment = environment

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

    def arguments(self) -> list[str]:
        return ["--only", "broker"]

    def settings(self) -> dict[str, str]:
        return {**self.environment, **self._environment}
