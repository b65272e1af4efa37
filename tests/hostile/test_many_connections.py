"""Ten thousand connections, and thousands of consumers that never read: memory by the documented limits, others served.

How fast others are served meanwhile, and what idle connections cost, is measured by ``python -m bench --only connections``.
"""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import limits
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, fetch, fetch_request, produce
from tests.support.wait import wait_until
from tests.support.wire import Wire, request_frame

MIB = 1024 * 1024
CONNECTIONS = 10_000
BYTES_PER_IDLE_CONNECTION = 16 * 1024
NEVER_READING = 3_000

pytestmark = pytest.mark.nightly


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    settings = {"OTTLA_ACK_DURABILITY": "os", "OTTLA_MAX_CONNECTIONS": "20000", "OTTLA_MAX_CONNECTIONS_PER_IP": "20000"}
    try:
        with BrokerProcess(tmp_path, **settings) as process:
            yield process
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def connected(port: int, count: int, *, receive_buffer_bytes: int = 0) -> Iterator[list[socket.socket]]:
    """From several local addresses: one has only so many ports."""
    opened: list[socket.socket] = []
    try:
        for number in range(count):
            connection = socket.socket()
            opened.append(connection)
            if receive_buffer_bytes:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            connection.bind((f"127.0.1.{1 + number % 8}", 0))
            connection.settimeout(60)
            connection.connect(("127.0.0.1", port))
        yield opened
    finally:
        for connection in opened:
            connection.close()


def serves(broker: BrokerProcess, topic: str) -> bool:
    """Somebody else writes, and reads what was written."""
    with Wire(broker.port, timeout=60) as wire:
        written = produce(wire, topic, batch(b"other"))
        read = [record.value for record in iter_records(fetch(wire, topic, written.base_offset).records)]
    return written.error_code == 0 and read == [b"other"]


def test_ten_thousand_idle_connections_cost_little_and_disturb_nobody(broker: BrokerProcess) -> None:
    with Wire(broker.port) as wire:
        topic = create_topic(wire)
    before, files = broker.rss_bytes(), broker.open_files()
    hello = request_frame(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest())
    with connected(broker.port, CONNECTIONS) as connections:
        for connection in connections:
            connection.sendall(hello)
        for connection in connections:
            assert connection.recv(1 << 16)
        assert broker.open_files() >= CONNECTIONS
        assert broker.rss_bytes() - before < CONNECTIONS * BYTES_PER_IDLE_CONNECTION
        assert serves(broker, topic)
        for connection in connections:
            connection.sendall(hello)
        for connection in connections:
            assert connection.recv(1 << 16), "and it is still theirs"
    wait_until(lambda: broker.open_files() <= files + 2, "every socket is closed")


def test_thousands_of_consumers_that_never_read_share_a_bounded_memory(broker: BrokerProcess) -> None:
    with Wire(broker.port) as wire:
        topic = create_topic(wire)
        for _ in range(12):
            assert produce(wire, topic, batch(b"x" * (MIB - 1_000))).error_code == 0
        before = broker.rss_bytes()
        ask = request_frame(ApiKey.FETCH, 11, fetch_request(topic, max_bytes=50 * MIB))
        allowed = 3 * limits.UNSENT_BYTES_MAX // 2 + NEVER_READING * limits.WRITE_BUFFER_HIGH_BYTES + 64 * MIB
        for wave in (NEVER_READING, NEVER_READING // 3):
            with connected(broker.port, wave, receive_buffer_bytes=4_096) as connections:
                for number, connection in enumerate(connections):
                    connection.sendall(ask)
                    if number % 250 == 0:
                        assert serves(broker, topic)
                        assert broker.rss_bytes() - before < allowed
                assert serves(broker, topic)
                assert broker.rss_bytes() - before < allowed, "the second wave is given the memory of the first"
