"""GET /healthz tells the truth about the brokers without asking who wants to know."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from django.test import Client

from dashboard.services import health


class FakeBroker:
    """Answers one ApiVersions request per connection with an empty list, or with whatever it is told to."""

    def __init__(self, answer: bytes | None = None) -> None:
        self.answer = answer
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.questions = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(1024)
                self.questions += 1
                correlation_id = request[8:12]
                connection.sendall(self.answer or struct.pack(">i", 10) + correlation_id + bytes(6))

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    fake = FakeBroker()
    yield fake
    fake.close()


@pytest.fixture(autouse=True)
def forget_last_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_last", None)
    monkeypatch.setattr(health, "_redis_answers", lambda: True)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_it_is_ok_when_every_broker_answers(client: Client, settings, broker: FakeBroker) -> None:
    settings.OTTLA_BOOTSTRAP = [broker.address]
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "brokers": {"expected": 1, "answering": 1}, "redis": "ok"}


def test_it_is_degraded_when_one_of_two_brokers_is_gone(client: Client, settings, broker: FakeBroker) -> None:
    settings.OTTLA_BOOTSTRAP = [broker.address, closed_port()]
    response = client.get("/healthz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")


def test_it_is_degraded_without_redis(client: Client, settings, broker: FakeBroker, monkeypatch) -> None:
    monkeypatch.setattr(health, "_redis_answers", lambda: False)
    settings.OTTLA_BOOTSTRAP = [broker.address]
    response = client.get("/healthz")
    assert (response.status_code, response.json()["status"]) == (200, "degraded")


def test_it_is_unavailable_when_no_broker_answers(client: Client, settings) -> None:
    settings.OTTLA_BOOTSTRAP = [closed_port()]
    response = client.get("/healthz")
    assert (response.status_code, response.json()["status"]) == (503, "unavailable")


def test_something_that_does_not_speak_kafka_is_not_a_broker(client: Client, settings) -> None:
    web_server = FakeBroker(answer=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    try:
        settings.OTTLA_BOOTSTRAP = [web_server.address]
        assert client.get("/healthz").status_code == 503
    finally:
        web_server.close()


def test_hammering_it_asks_the_broker_once_a_second(client: Client, settings, broker: FakeBroker) -> None:
    settings.OTTLA_BOOTSTRAP = [broker.address]
    for _ in range(5):
        client.get("/healthz")
    assert broker.questions == 1


def test_it_carries_the_content_security_policy(client: Client, settings, broker: FakeBroker) -> None:
    settings.OTTLA_BOOTSTRAP = [broker.address]
    policy = client.get("/healthz").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
