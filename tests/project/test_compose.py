"""docker-compose.yml and Dockerfile are true: the very commands and environment they name run here as processes.

Without a container engine only three things are different: names of containers become 127.0.0.1, ports become free
ones of this machine, and the volume is a temporary directory.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from broker.supervisor.redis_server import find_server_program
from broker.supervisor.roles import PROJECT_ROOT
from tests.support.ports import free_kafka_port, free_port
from tests.support.wait import wait_until

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
EVERYTHING: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVICES = {name: service for name, service in EVERYTHING.items() if "profiles" not in service}
"""What `docker compose up` starts."""
ROLES = ("broker", "collector", "worker", "beat", "web")
VOLUME = "/var/lib/ottla"


class Composed:
    """The services of the file as processes of this machine."""

    def __init__(self, directory: Path) -> None:
        kafka = free_kafka_port()
        self.ports = {"9092": kafka, "19092": kafka + 10_000, "8000": free_port(), "6379": free_port()}
        self.home = directory / "volume"
        self.logs = directory
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """The same thing on this machine."""
        text = re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: os.environ.get(match[1], match[2]), text)
        text = text.replace(VOLUME, str(self.home))
        address = re.compile(r"\b(?:broker|redis|0\.0\.0\.0|127\.0\.0\.1):(\d+)\b")
        return address.sub(lambda match: f"127.0.0.1:{self.ports[match[1]]}", text)

    def environment(self, name: str) -> dict[str, str]:
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("OTTLA_", "REDIS_"))}
        outside["DJANGO_SETTINGS_MODULE"] = "dashboard.project.settings"
        given = {key: self.here(str(value)) for key, value in SERVICES[name].get("environment", {}).items()}
        return outside | image_environment(self) | given

    def command(self, words: list[str]) -> list[str]:
        programs = {"python": sys.executable, "valkey-server": find_server_program()}
        return [programs.get(words[0], words[0]), *(str(self.ports.get(word, self.here(word))) for word in words[1:])]

    def start(self, name: str) -> None:
        with open(self.logs / f"{name}.log", "ab") as log:
            self.running[name] = subprocess.Popen(
                self.command(SERVICES[name]["command"]),
                cwd=PROJECT_ROOT,
                env=self.environment(name),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def healthy(self, name: str) -> bool:
        """What the health check of the file says."""
        assert self.running[name].poll() is None, f"{name} ended: {self.log(name)}"
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        if words[0] == "valkey-cli":
            return self._redis_answers()
        check = subprocess.run(
            self.command(words), cwd=PROJECT_ROOT, env=self.environment(name), capture_output=True, check=False
        )
        return check.returncode == 0

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def _redis_answers(self) -> bool:
        try:
            with redis.Redis(port=self.ports["6379"]) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def image_environment(composed: Composed) -> dict[str, str]:
    """``ENV`` of the image."""
    text = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    pairs = dict(word.split("=", 1) for word in line.split())
    return {name: composed.here(value) for name, value in pairs.items() if name != "PATH"}


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    composed = Composed(tmp_path_factory.mktemp("compose"))
    try:
        for name in start_order():
            for needed, condition in SERVICES[name].get("depends_on", {}).items():
                assert condition == {"condition": "service_healthy"}
                wait_until(lambda: composed.healthy(needed), f"a healthy {needed}", seconds=60)  # noqa: B023
            composed.start(name)
        yield composed
    finally:
        for process in composed.running.values():
            process.kill()
            process.wait()


def start_order() -> list[str]:
    return sorted(SERVICES, key=lambda name: len(SERVICES[name].get("depends_on", {})))


def test_there_is_a_container_for_every_role_and_one_for_redis() -> None:
    assert set(SERVICES) == {"redis", *ROLES}
    assert {name: SERVICES[name]["command"] for name in ROLES} == {
        name: ["python", "manage.py", "up", "--only", name] for name in ROLES
    }


def test_the_demo_workload_is_a_container_that_starts_only_when_asked_for() -> None:
    assert set(EVERYTHING) - set(SERVICES) == {"demo"}
    assert EVERYTHING["demo"]["command"] == ["python", "manage.py", "up", "--only", "demo"]
    assert EVERYTHING["demo"]["volumes"] == [f"ottla:{VOLUME}"]


def test_every_container_has_a_health_check_and_comes_back() -> None:
    for service in EVERYTHING.values():
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"


def test_only_this_machine_reaches_the_published_ports() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:9092:9092", "127.0.0.1:8000:8000"]


def test_all_roles_share_one_home_and_nothing_else_has_state() -> None:
    assert {name: SERVICES[name]["volumes"] for name in ROLES} == {name: [f"ottla:{VOLUME}"] for name in ROLES}
    assert list(COMPOSE["volumes"]) == ["ottla"]
    assert f"VOLUME {VOLUME}" in (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_image_holds_what_runs_and_runs_as_nobody_special() -> None:
    dockerfile = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "USER ottla" in dockerfile
    copied = re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)
    sources = {word.rstrip("/") for line in copied for word in line.split()[:-1]}
    assert {"manage.py", "broker", "dashboard", "templates", "static", "pyproject.toml", "constraints.txt"} <= sources
    assert all((PROJECT_ROOT / source).exists() for source in sources)
    ignored = (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert not sources & set(ignored)
    assert {"var", ".venv", ".git"} <= set(ignored)


def test_its_commands_become_a_healthy_installation(composed: Composed) -> None:
    for name in SERVICES:
        wait_until(lambda: composed.healthy(name), f"a healthy {name}", seconds=60)  # noqa: B023
    connection = http.client.HTTPConnection("127.0.0.1", composed.ports["8000"], timeout=10)
    connection.request("GET", "/healthz")
    assert json.loads(connection.getresponse().read()) == {
        "status": "ok",
        "brokers": {"expected": 1, "answering": 1},
        "redis": "ok",
    }
    connection.close()


def test_set_up_happened_once_although_four_roles_started_at_once(composed: Composed) -> None:
    wait_until(lambda: composed.healthy("web"), "a healthy web", seconds=60)
    printed = [name for name in ROLES if "administrator admin, password" in composed.log(name)]
    assert len(printed) == 1


def test_a_second_container_of_a_role_is_refused(composed: Composed) -> None:
    wait_until(lambda: composed.healthy("worker"), "a healthy worker", seconds=60)
    second = subprocess.run(
        composed.command(SERVICES["worker"]["command"]),
        cwd=PROJECT_ROOT,
        env=composed.environment("worker"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert second.returncode == 1
    assert "'worker' of" in second.stderr
    assert "is in use" in second.stderr


def test_a_stopped_container_ends_by_itself_within_its_grace_period(composed: Composed) -> None:
    for name in ROLES:
        wait_until(lambda: composed.healthy(name), f"a healthy {name}", seconds=60)  # noqa: B023
    for name in reversed(ROLES):
        process = composed.running[name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(int(SERVICES[name]["stop_grace_period"].removesuffix("s"))) == 0, composed.log(name)
    assert (composed.home / "broker-1" / ".kafka_cleanshutdown").exists()
    # The other tests of this module, in whatever order, find everything running.
    for name in ROLES:
        composed.start(name)
