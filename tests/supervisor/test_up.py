"""``manage.py up`` itself, as a person starts it: everything ready, one death survived, everything gone in time."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from broker.client.ping import ping
from broker.supervisor.control_client import SupervisorClient, SupervisorRefused, SupervisorUnreachable
from broker.supervisor.roles import PROJECT_ROOT
from tests.support.ports import free_kafka_port, free_port
from tests.support.wait import wait_until

READY_SECONDS = 60
STOP_SECONDS = 10
BROKERS = ("broker-1", "broker-2", "broker-3")
"""As many as there are when nobody says otherwise."""


def free_ports() -> tuple[int, int]:
    """A Kafka port whose internal twin is free as well, and an HTTP port."""
    return free_kafka_port(3), free_port()


class Up:
    """One installation, started through the command line."""

    def __init__(self, home: Path, kafka: int, web: int, *more: str) -> None:
        self.home, self.kafka, self.web = home, kafka, web
        self.output = home.parent / f"{home.name}-{time.monotonic_ns()}.txt"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
        environ |= {"OTTLA_NUM_PARTITIONS": "3", "DJANGO_SETTINGS_MODULE": "dashboard.project.settings"}
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "manage.py", "up", "--home", str(home)),
                    *("--kafka", f"127.0.0.1:{kafka}", "--http", f"127.0.0.1:{web}", *more),
                ],
                cwd=PROJECT_ROOT,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def screen(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = READY_SECONDS) -> None:
        def seen() -> bool:
            if text in self.screen:
                return True
            if self.process.poll() is not None:
                raise AssertionError(f"ended before {text!r}: {self.screen}")
            return False

        wait_until(seen, f"{text!r} on the screen", seconds=seconds)

    def services(self) -> dict[str, dict]:
        return {item["name"]: item for item in SupervisorClient(self.home / "control.sock").status()["services"]}

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def health(self) -> tuple[int, str]:
        status, body = self.get("/healthz")
        return status, json.loads(body)["status"]

    def stop(self) -> float:
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(STOP_SECONDS + 10) == 0, self.screen
        return time.monotonic() - started


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    up = Up(tmp_path_factory.mktemp("up") / "home", *free_ports())
    try:
        up.wait_for("Ottla is ready")
        yield up
    finally:
        up.process.kill()
        up.process.wait()


def test_every_process_is_ready_and_the_password_is_printed_once(running: Up) -> None:
    expected = dict.fromkeys(("redis", *BROKERS, "collector", "worker", "beat", "web"), "ready") | {"demo": "stopped"}
    wait_until(lambda: {name: item["state"] for name, item in running.services().items()} == expected, "all ready")
    assert running.screen.count("administrator admin, password ") == 1
    assert not any("password" in path.read_text(errors="replace") for path in (running.home / "logs").glob("*.log")), (
        "the password is in a log"
    )


def test_it_is_healthy_and_shows_the_login_page(running: Up) -> None:
    wait_until(lambda: running.health() == (200, "ok"), "health")
    status, page = running.get("/login/")
    assert status == 200
    assert b"/static/unfold/css/styles." in page
    stylesheet = next(part for part in page.decode().split('"') if part.startswith("/static/unfold/css/styles."))
    assert running.get(stylesheet)[0] == 200


def test_broker_configs_reach_the_broker(running: Up) -> None:
    from broker.client.blocking import Client

    with Client([f"127.0.0.1:{running.kafka}"]) as client:
        (entry,) = [entry for entry in client.describe_broker_configs(1) if entry.name == "num.partitions"]
    assert entry.value == "3"


def test_a_second_one_on_the_same_home_is_refused(running: Up) -> None:
    second = Up(running.home, *free_ports())
    assert second.process.wait(30) == 1
    assert f"(pid {running.process.pid}); stop it or choose another --home" in second.screen


@pytest.mark.parametrize(
    ("taken", "option"),
    [("kafka", "--kafka HOST:PORT"), ("internal", "10000 above --kafka"), ("web", "--http HOST:PORT")],
)
def test_a_taken_port_is_one_clear_line_and_nothing_is_left_running(
    running: Up, tmp_path: Path, taken: str, option: str
) -> None:
    kafka, web = free_ports()
    port = {"kafka": kafka, "internal": kafka + 10_000, "web": web}[taken]
    with socket.create_server(("127.0.0.1", port)):
        up = Up(tmp_path / "home", kafka, web)
        assert up.process.wait(30) == 1
    (line,) = up.screen.splitlines()
    assert f"port {port} on 127.0.0.1 is taken" in line
    assert option in line
    assert not processes_of(tmp_path / "home")


def test_a_killed_broker_is_started_again_and_shown(running: Up) -> None:
    before = running.services()["broker-1"]
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: running.services()["broker-1"]["restarts"] == before["restarts"] + 1, "the restart")
    wait_until(lambda: running.services()["broker-1"]["state"] == "ready", "a ready broker")
    running.wait_for("broker-1    was ended by SIGKILL; restart")
    wait_until(lambda: running.health() == (200, "ok"), "health")


def test_whatever_is_killed_comes_back_and_finds_the_others(running: Up) -> None:
    before = running.services()
    others = [name for name in before if name not in ("broker-1", "demo")]
    for name in others:
        os.kill(before[name]["pid"], signal.SIGKILL)

    def recovered() -> bool:
        now = running.services()
        return all(now[name]["state"] == "ready" and now[name]["pid"] != before[name]["pid"] for name in others)

    wait_until(recovered, "all of them ready again", seconds=60)
    wait_until(lambda: running.health() == (200, "ok"), "health")
    assert min(running.services()[name]["restarts"] for name in others) >= 1


def test_a_broker_is_stopped_and_started_through_the_control_socket(running: Up) -> None:
    control = SupervisorClient(running.home / "control.sock")
    control.change("stop", "broker-1", "test")
    assert running.services()["broker-1"]["state"] == "stopped"
    wait_until(lambda: running.health() == (200, "degraded"), "health of two of three")
    control.change("start", "broker-1", "test")
    wait_until(lambda: running.health() == (200, "ok"), "health")
    with pytest.raises(SupervisorRefused):
        control.change("stop", "broker-9", "test")


def test_it_stops_in_order_in_time_and_cleanly_and_starts_warm(tmp_path: Path) -> None:
    home = tmp_path / "home"
    kafka, web = free_ports()
    cold = Up(home, kafka, web)
    cold.wait_for("Ottla is ready")
    assert cold.stop() < STOP_SECONDS
    stopped = [line.split()[0] for line in cold.screen.splitlines() if line.endswith("  stopped")]
    assert sorted(stopped[:4]) == ["beat", "collector", "web", "worker"]
    assert (sorted(stopped[4:-1]), stopped[-1]) == (list(BROKERS), "redis"), "whoever asks is gone before who answers"
    # A Celery worker at rest needs 2.5 of the 3 s it is given; beside other work it may be killed, which loses nothing.
    assert not any("killed" in line for line in cold.screen.splitlines() if line.startswith("  broker-"))
    assert all((home / broker / ".kafka_cleanshutdown").exists() for broker in BROKERS)
    assert not (home / "control.sock").exists()
    assert not processes_of(home)

    warm = Up(home, kafka, web)
    try:
        warm.wait_for("Ottla is ready")
        assert "set-up" not in warm.screen, "nothing had changed"
        assert "password" not in warm.screen
        ping("127.0.0.1", kafka)
    finally:
        warm.stop()


def test_a_role_runs_alone_in_the_foreground(tmp_path: Path) -> None:
    kafka, web = free_ports()
    up = Up(tmp_path / "home", kafka, web, "--only", "broker", "--brokers", "1")
    try:
        up.wait_for("ready")
        ping("127.0.0.1", kafka)
        assert psutil.Process(up.process.pid).cmdline()[-4:] == ["-m", "broker", "--id", "1"]
        with pytest.raises(SupervisorUnreachable):
            up.services()
    finally:
        up.stop()
    assert (tmp_path / "home" / "broker-1" / ".kafka_cleanshutdown").exists()


def processes_of(home: Path) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("OTTLA_HOME") == str(home) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
