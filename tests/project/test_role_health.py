from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import pytest
import redis

from dashboard.live.state import Pulse
from dashboard.live.store import Snapshot, StoreError
from dashboard.services import role_health
from dashboard.services.role_health import Unhealthy, check


class Store:
    def __init__(self, pulse: Pulse | None) -> None:
        self.pulse = pulse

    def read(self, scopes) -> Snapshot:
        return Snapshot(pulse=self.pulse)


def collector_published(monkeypatch: pytest.MonkeyPatch, seconds_ago: float | None) -> None:
    pulse = None if seconds_ago is None else Pulse(made_at_ms=int((time.time() - seconds_ago) * 1000))
    monkeypatch.setattr(role_health, "readable_store", lambda: Store(pulse))


def test_a_collector_that_published_just_now_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    collector_published(monkeypatch, 1)
    check("collector", {})


def test_a_silent_collector_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    collector_published(monkeypatch, 60)
    with pytest.raises(Unhealthy, match="has not published for 60 s"):
        check("collector", {})
    collector_published(monkeypatch, None)
    with pytest.raises(Unhealthy, match="has not published yet"):
        check("collector", {})


def test_a_collector_without_redis_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise StoreError("Redis does not answer")

    monkeypatch.setattr(role_health, "readable_store", fail)
    with pytest.raises(Unhealthy, match="Redis does not answer"):
        check("collector", {})


def test_a_worker_is_well_while_its_heartbeat_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(role_health, "seconds_since_seen", lambda: 3.0)
    check("worker", {})
    monkeypatch.setattr(role_health, "seconds_since_seen", lambda: 300.0)
    with pytest.raises(Unhealthy, match="no worker was seen for 300 s"):
        check("worker", {})


def test_a_worker_cannot_be_judged_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> float:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(role_health, "seconds_since_seen", fail)
    with pytest.raises(Unhealthy, match="Redis cannot be asked: refused"):
        check("worker", {})


def test_beat_is_as_well_as_its_schedule_is_fresh(tmp_path: Path, settings) -> None:
    settings.CELERY_BEAT_SCHEDULE_FILENAME = str(tmp_path / "beat-schedule")
    with pytest.raises(Unhealthy, match="beat has sent nothing yet"):
        check("beat", {})
    written = tmp_path / "beat-schedule.dat"
    written.touch()
    check("beat", {})
    os.utime(written, (time.time() - 900, time.time() - 900))
    with pytest.raises(Unhealthy, match="beat has sent nothing for 900 s"):
        check("beat", {})


@pytest.mark.parametrize("status", [b"200 OK", b"503 Service Unavailable"])
def test_a_web_server_that_answers_is_well_whatever_the_brokers_do(status: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        check("web", {"OTTLA_HTTP": f"127.0.0.1:{listener.getsockname()[1]}"})
        thread.join(5)


def test_a_web_server_that_is_away_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unhealthy, match="does not answer"):
        check("web", {"OTTLA_HTTP": f"127.0.0.1:{port}"})
