"""docs/operations.md: its commands run, in its order, on a broker that its unit and its environment start.

What needs systemd, root, the network or other machines is compared with what is there: units, files, packages.
"""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.supervisor.roles import PROJECT_ROOT
from tests.support.ports import free_kafka_port
from tests.support.postgres import PostgresProcess, programs_of_postgres
from tests.support.systemd_units import DIRECTORY, SERVICES, UNITS, read_environment
from tests.support.wait import wait_until
from tests.support.zookeeper import ZookeeperProcess

DOCUMENT = (PROJECT_ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.splitlines()
    if line and not line.startswith("#")
]
ELSEWHERE = ("systemctl", "apt-get", "useradd", "git", "python3", "/opt/ottla/.venv/bin/pip", "sudo", "journalctl")
"""Programs whose commands are only checked."""
SEPARATELY = ("echo srvr | nc", "curl -s http://127.0.0.1:8000/healthz", "install -D", "install -m 0644", "rm /etc")
OTHERS_UNITS = {"zookeeper"}
PACKAGES = {"git", "python3-venv", "postgresql", "redis-server", "zookeeper"}

pytestmark = pytest.mark.timeout(240)


class Stage:
    """The first machine of the page, with paths of its own."""

    def __init__(self, directory: Path, zookeeper: ZookeeperProcess, postgres: PostgresProcess) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(mode=0o700)
        self._zookeeper = zookeeper
        kafka = free_kafka_port()
        self._here = {
            "10.0.0.1:9092,10.0.0.2:9092,10.0.0.3:9092": f"127.0.0.1:{kafka}",
            "10.0.0.1:19092,10.0.0.2:19092,10.0.0.3:19092": f"127.0.0.1:{kafka + 10_000}",
            "10.0.0.1:9092": f"127.0.0.1:{kafka}",
            "10.0.0.1:19092": f"127.0.0.1:{kafka + 10_000}",
            "postgresql://ottla:PASSWORD@10.0.0.1:5432/ottla": postgres.create("ottla"),
        }
        self.use_store(zookeeper.url())
        self._broker: subprocess.Popen[str] | None = None

    def use_store(self, url: str) -> None:
        """What an operator would edit in /etc/ottla/ottla.env."""
        text = (DIRECTORY / "ottla.env").read_text(encoding="utf-8")
        text = re.sub(r"zookeeper://\S+", url, text)
        for there, here in self._here.items():
            text = text.replace(there, here)
        (self.directory / "ottla.env").write_text(text)

    def run(self, command: str) -> str:
        """One line of the page, after the one that reads the environment."""
        lines = [line for line in COMMANDS if line.startswith("set -a")]
        script = "\n".join(map(self._mapped, [*lines, command]))
        path = f"{programs_of_postgres()}:{os.environ['PATH']}"
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("OTTLA_", "REDIS", "DJANGO"))}
        done = subprocess.run(
            ["bash", "-euc", script], env=outside | {"PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def start_broker(self) -> None:
        """As ottla-broker@1.service does."""
        service = SERVICES["ottla-broker@.service"]["Service"]
        environment = dict(word.split("=", 1) for word in service["Environment"][0].split())
        environment |= read_environment((self.directory / "ottla.env").read_text())
        environment["OTTLA_HOME"] = str(self.home)
        words = service["ExecStart"][0].replace("%i", "1").split()[1:]
        output = self.directory / "broker.log"
        with output.open("wb") as log:
            self._broker = subprocess.Popen(
                [sys.executable, *words],
                cwd=PROJECT_ROOT,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
                text=True,
            )
        wait_until(lambda: "\nready" in f"\n{output.read_text()}", "the broker is ready", seconds=60)

    def stop_broker(self) -> None:
        if self._broker is not None:
            self._broker.terminate()
            assert self._broker.wait(60) == 0
            self._broker = None

    def close(self) -> None:
        if self._broker is not None:
            self._broker.kill()
            self._broker.wait()

    def _mapped(self, line: str) -> str:
        for there, here in {
            **self._here,
            "/etc/ottla/ottla.env": str(self.directory / "ottla.env"),
            "/var/lib/ottla": str(self.home),
            "/opt/ottla": str(PROJECT_ROOT),
            "/backup": str(self.directory / "backup"),
            ".venv/bin/python": sys.executable,
            "-o ottla -g ottla ": "",
        }.items():
            line = line.replace(there, here)
        return line


@pytest.fixture
def stage(tmp_path: Path, zookeeper: ZookeeperProcess) -> Iterator[Stage]:
    with PostgresProcess() as postgres:
        stage = Stage(tmp_path, zookeeper, postgres)
        yield stage
        stage.close()


def runnable() -> list[str]:
    return [line for line in COMMANDS if not line.startswith((*ELSEWHERE, *SEPARATELY, "set -a"))]


def test_the_commands_run(stage: Stage, zookeeper: ZookeeperProcess) -> None:
    left = runnable()

    def run_those_with(*parts: str) -> str:
        lines = [line for line in left if any(part in line for part in parts)]
        assert lines, parts
        for line in lines:
            left.remove(line)
        return "".join(map(stage.run, lines))

    run_those_with("install -d -m 0700 -o ottla -g ottla /var/lib/ottla", "install -m 0600", "openssl")
    stage.start_broker()
    assert set(run_those_with("--unhealthy").splitlines()) == {"Every partition is healthy."}
    assert "answered" in run_those_with("broker.client.ping")
    stage.run(".venv/bin/python manage.py setup")
    run_those_with("install -d -m 0700 /backup")
    assert "keys saved to" in run_those_with("metadata backup")
    sqlite3.connect(stage.home / "db.sqlite3").close()
    run_those_with("pg_dump", "cp -p", "import sqlite3")
    stage.stop_broker()
    run_those_with("verify_log")
    stage.use_store(zookeeper.url())
    assert "keys restored from" in run_those_with("metadata restore")
    run_those_with("pg_restore")
    run_those_with("manage.py setup")
    assert left == []
    stage.start_broker()
    stage.stop_broker()


def test_what_cannot_run_here_is_about_what_there_is() -> None:
    for line in COMMANDS:
        words = shlex.split(line)
        match words:
            case ["systemctl", "daemon-reload"]:
                continue
            case ["systemctl", ("enable" | "start" | "stop" | "restart"), *names]:
                known = {name.removesuffix(".service").replace("@", "@1") for name in UNITS} | OTHERS_UNITS | set(UNITS)
                assert {name for name in names if name != "--now"} <= known, line
            case ["apt-get", "install", "-y", *packages]:
                assert set(packages) <= PACKAGES, line
            case ["install", *options, source, _] if source.startswith("/opt/ottla/") or "deploy" in line:
                assert options
                assert list(PROJECT_ROOT.glob(source.removeprefix("/opt/ottla/"))), line
    mentioned = re.findall(r"ottla-[a-z-]+(?:@\d)?(?:\.timer)?", " ".join(c for c in COMMANDS if "systemctl" in c))
    assert {re.sub(r"@\d", "@", name).removesuffix(".timer") for name in mentioned} == {
        *("ottla-broker@", "ottla-worker", "ottla-collector", "ottla-beat", "ottla-web", "ottla-metadata-backup")
    }


def test_every_command_is_run_or_known_to_be_for_another_place() -> None:
    assert COMMANDS
    unknown = [
        line for line in runnable() if not line.startswith((".venv/bin/python", "pg_", "cp ", "install ", "openssl "))
    ]
    assert unknown == []


def test_the_zookeeper_configuration_is_one(tmp_path: Path) -> None:
    """A server starts with it, alone and with paths and ports of its own."""
    (text,) = re.findall(r"```ini\n(.*?)```", DOCUMENT, re.DOTALL)
    settings = dict(line.split("=", 1) for line in text.splitlines())
    assert {name for name in settings if name.startswith("server.")} == {"server.1", "server.2", "server.3"}
    assert int(settings["autopurge.purgeInterval"]) > 0
    alone = [
        f"{name}={value}\n"
        for name, value in settings.items()
        if name not in ("dataDir", "clientPort", "tickTime", "initLimit", "syncLimit", "admin.enableServer")
        and not name.startswith(("server.", "4lw"))
    ]
    with ZookeeperProcess(tmp_path, settings="".join(alone)) as server:
        assert server.mode() == "standalone"
