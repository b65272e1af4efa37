"""docker-compose.yml and Dockerfile are true: the very commands and environment they name run here as processes.

Without a container engine only three things are different: names of containers become 127.0.0.1, ports become free
ones of this machine, and volumes are temporary directories. ZooKeeper and PostgreSQL are this machine's, with what their images
make of the environment.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from broker.config.broker import BrokerConfig
from broker.config.metadata_address import parse_metadata_address
from broker.supervisor.redis_server import find_server_program
from broker.supervisor.roles import PROJECT_ROOT
from dashboard.project.database import database
from tests.support.ports import free_kafka_port, free_port
from tests.support.postgres import PostgresProcess, programs_of_postgres
from tests.support.wait import wait_until
from tests.support.zookeeper import ZookeeperProcess

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
EVERYTHING: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVICES = {name: service for name, service in EVERYTHING.items() if "profiles" not in service}
"""What `docker compose up` starts."""
ZOOKEEPERS = ("zookeeper-1", "zookeeper-2", "zookeeper-3")
BROKERS = ("broker-1", "broker-2", "broker-3")
ROLES = (*BROKERS, "collector", "worker", "beat", "web")
VOLUME = "/var/lib/ottla"
HEALTHY_SECONDS_MAX = 120

pytestmark = pytest.mark.timeout(400)


class Composed:
    """The services of the file as processes of this machine."""

    def __init__(self, directory: Path) -> None:
        kafka = _three_kafka_ports()
        self.ports = {"8000": free_port(), "6379": free_port()}
        for number in range(3):
            self.ports |= {str(9092 + number): kafka + number, str(19092 + number): kafka + number + 10_000}
        self.zookeepers = {name: _zookeeper(name, directory / name) for name in ZOOKEEPERS}
        given = SERVICES["postgres"]["environment"]
        self.postgres = PostgresProcess(password=_interpolated(given["POSTGRES_PASSWORD"]))
        self.ports["5432"] = self.postgres.port
        self.home = directory / "volume"
        self.logs = directory
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str, name: str = "") -> str:
        """The same thing on this machine; ``name`` is the service that says it, to whom 127.0.0.1 is itself."""
        text = _interpolated(text).replace(VOLUME, str(self.home))
        for zookeeper, process in self.zookeepers.items():
            text = text.replace(f"{zookeeper}:2181", f"127.0.0.1:{process.port}")
            if name == zookeeper:
                text = text.replace("/dev/tcp/127.0.0.1/2181", f"/dev/tcp/127.0.0.1/{process.port}")
        address = re.compile(r"\b(?:broker-[123]|redis|postgres|0\.0\.0\.0|127\.0\.0\.1):(\d+)\b")
        return address.sub(lambda match: f"127.0.0.1:{self.ports.get(match[1], match[1])}", text)

    def environment(self, name: str) -> dict[str, str]:
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("OTTLA_", "REDIS_"))}
        outside["DJANGO_SETTINGS_MODULE"] = "dashboard.project.settings"
        given = {key: self.here(str(value), name) for key, value in SERVICES[name].get("environment", {}).items()}
        return outside | image_environment(self) | given

    def command(self, words: list[str], name: str = "") -> list[str]:
        programs = {
            "python": lambda: sys.executable,
            "valkey-server": find_server_program,
            "pg_isready": lambda: str(programs_of_postgres() / "pg_isready"),
        }
        program = programs.get(words[0], lambda: words[0])()
        return [program, *(str(self.ports.get(word, self.here(word, name))) for word in words[1:])]

    def start(self, name: str) -> None:
        if name in self.zookeepers:
            self.zookeepers[name].start()
        elif name == "postgres":
            self.postgres.__enter__()
            self.postgres.create(SERVICES[name]["environment"]["POSTGRES_DB"])
        else:
            self._start_process(name)

    def _start_process(self, name: str) -> None:
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
        if name in self.running:
            assert self.running[name].poll() is None, f"{name} ended: {self.log(name)}"
        kind, *words = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        if words[0] == "valkey-cli":
            return self._redis_answers()
        check = subprocess.run(
            self.command(words, name), cwd=PROJECT_ROOT, env=self.environment(name), capture_output=True, check=False
        )
        return check.returncode == 0

    def wait_healthy(self, name: str) -> None:
        wait_until(lambda: self.healthy(name), f"a healthy {name}", seconds=HEALTHY_SECONDS_MAX)

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()
        for zookeeper in self.zookeepers.values():
            zookeeper.kill()
        self.postgres.__exit__(None, None, None)

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def _redis_answers(self) -> bool:
        try:
            with redis.Redis(port=self.ports["6379"]) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _interpolated(text: str) -> str:
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: os.environ.get(match[1], match[2]), text)


def _three_kafka_ports() -> int:
    """The first of three free ones in a row."""
    while True:
        first = free_kafka_port()
        try:
            for port in (first + 1, first + 2, first + 10_001, first + 10_002):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first


_QUORUM_PORTS: dict[str, int] = {}


def _zookeeper(name: str, directory: Path) -> ZookeeperProcess:
    """As the image's entry point makes its configuration from the environment."""
    given = SERVICES[name]["environment"]

    def member(match: re.Match[str]) -> str:
        ports = (_QUORUM_PORTS.setdefault(f"{match[1]}:{port}", free_port()) for port in (match[2], match[3]))
        return "127.0.0.1:" + ":".join(map(str, ports)) + "\n"

    servers = re.sub(r"(zookeeper-\d):(\d+):(\d+);2181\s*", member, given["ZOO_SERVERS"])
    return ZookeeperProcess(directory, settings=servers, number=int(given["ZOO_MY_ID"]))


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
                composed.wait_healthy(needed)
            composed.start(name)
        yield composed
    finally:
        composed.close()


def start_order() -> list[str]:
    return sorted(SERVICES, key=lambda name: len(SERVICES[name].get("depends_on", {})))


def test_there_is_a_container_for_every_role_and_for_what_they_need() -> None:
    assert set(SERVICES) == {*ZOOKEEPERS, "redis", "postgres", *ROLES}
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
    assert published == [f"127.0.0.1:{port}:{port}" for port in (9092, 9093, 9094, 8000)]


def test_all_roles_share_one_home_and_what_else_has_state_has_a_volume() -> None:
    assert {name: SERVICES[name]["volumes"] for name in ROLES} == {name: [f"ottla:{VOLUME}"] for name in ROLES}
    assert {name: SERVICES[name]["volumes"] for name in ZOOKEEPERS} == {name: [f"{name}:/data"] for name in ZOOKEEPERS}
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert set(COMPOSE["volumes"]) == {"ottla", "postgres", *ZOOKEEPERS}
    assert f"VOLUME {VOLUME}" in (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_zookeepers_form_one_ensemble_that_keeps_everything_in_its_volume_and_cleans_up() -> None:
    given = [SERVICES[name]["environment"] for name in ZOOKEEPERS]
    assert [environment["ZOO_MY_ID"] for environment in given] == ["1", "2", "3"]
    for environment in given:
        members = environment["ZOO_SERVERS"].split()
        assert members == [f"server.{n}=zookeeper-{n}:2888:3888;2181" for n in (1, 2, 3)]
        assert environment["ZOO_DATA_LOG_DIR"] == "/data"
        assert int(environment["ZOO_AUTOPURGE_PURGEINTERVAL"]) > 0
        assert "srvr" in environment["ZOO_4LW_COMMANDS_WHITELIST"], "the health check asks for it"


def test_the_roles_know_all_brokers_all_zookeepers_and_the_database_as_it_is_made() -> None:
    made = SERVICES["postgres"]["environment"]
    for name in ROLES:
        given = SERVICES[name]["environment"]
        address = parse_metadata_address(given["OTTLA_METADATA"])
        assert address.servers == tuple((zookeeper, 2181) for zookeeper in ZOOKEEPERS)
        brokers = [f"{broker}:{9092 + index}" for index, broker in enumerate(BROKERS)]
        assert given["OTTLA_BOOTSTRAP"].split(",") == given["OTTLA_KAFKA_ADVERTISED"].split(",") == brokers
        internal = [f"{broker}:{19092 + index}" for index, broker in enumerate(BROKERS)]
        assert given["OTTLA_BOOTSTRAP_INTERNAL"].split(",") == internal
        config = BrokerConfig.from_environment(given, node_id=1)
        assert (config.default_replication_factor, config.min_insync_replicas) == (3, 2)
        assert config.offsets_topic_replication_factor == config.transaction_state_log_replication_factor == 3
        found = database(_interpolated(given["DATABASE_URL"]), Path())
        assert (found["HOST"], found["PORT"]) == ("postgres", "5432")
        assert (found["USER"], found["NAME"]) == (made["POSTGRES_USER"], made["POSTGRES_DB"])
        assert found["PASSWORD"] == _interpolated(made["POSTGRES_PASSWORD"])


def test_docker_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    checked = subprocess.run(
        [docker, "compose", "config", "--quiet"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


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
        composed.wait_healthy(name)
    connection = http.client.HTTPConnection("127.0.0.1", composed.ports["8000"], timeout=30)
    connection.request("GET", "/healthz")
    assert json.loads(connection.getresponse().read()) == {
        "status": "ok",
        "brokers": {"expected": 3, "answering": 3},
        "redis": "ok",
    }
    connection.close()
    assert not (composed.home / "metadata.sqlite3").exists()
    assert not (composed.home / "db.sqlite3").exists()
    assert {path.name for path in composed.home.glob("broker-*")} == set(BROKERS)


def test_set_up_happened_once_although_four_roles_started_at_once(composed: Composed) -> None:
    composed.wait_healthy("web")
    printed = [name for name in ROLES if "administrator admin, password" in composed.log(name)]
    assert len(printed) == 1


def test_a_second_container_of_a_role_is_refused(composed: Composed) -> None:
    composed.wait_healthy("worker")
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
        composed.wait_healthy(name)
    for name in reversed(ROLES):
        process = composed.running[name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(int(SERVICES[name]["stop_grace_period"].removesuffix("s"))) == 0, composed.log(name)
    for name in BROKERS:
        assert (composed.home / name / ".kafka_cleanshutdown").exists()
    # The other tests of this module, in whatever order, find everything running.
    for name in ROLES:
        composed.start(name)
