"""What connections cost: memory and CPU of idle ones, how fast they are accepted, and how long others wait beside consumers
that ask and never read."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator

from bench import raw
from bench.broker import BrokerUnderTest
from bench.rows import Row

COUNTS = (2_000, 10_000)
SETTLE_SECONDS = 6
"""The first checkpoint, five seconds after the start, is work and not idleness."""

NEVER_READING = 3_000
BATCHES = 12
BATCH_BYTES = 1_000_000
PROBE_EVERY = 50


def connections(scale: float) -> Iterator[Row]:
    yield from _idle(scale)
    yield _beside_consumers_that_never_read(max(PROBE_EVERY, int(NEVER_READING * scale)))


def _idle(scale: float) -> Iterator[Row]:
    for count in COUNTS:
        limit = str(2 * count)
        with BrokerUnderTest(OTTLA_MAX_CONNECTIONS=limit, OTTLA_MAX_CONNECTIONS_PER_IP=limit) as broker:
            before_mb = broker.rss_mb()
            began = time.monotonic()
            opened = _connect(broker.port, count)
            seconds = time.monotonic() - began
            try:
                figures = {
                    "connects_s": count / seconds,
                    "rss_mb": broker.rss_mb(),
                    "kb_each": (broker.rss_mb() - before_mb) * 1_000 / count,
                    "cpu_percent": _idle_cpu(broker, scale),
                }
                got = raw.tiny_requests(broker.port, count=int(20_000 * scale))
                figures["requests_s"] = got.requests_per_second
                yield Row(name=f"{count:,} idle connections", figures=figures)
            finally:
                for connection in opened:
                    connection.close()


def _beside_consumers_that_never_read(count: int) -> Row:
    """Each asks for all that is there and reads nothing; now and then somebody else writes a batch and reads it."""
    with BrokerUnderTest(OTTLA_ACK_DURABILITY="os") as broker:
        raw.create_topic(broker.port, "unread")
        raw.produce(broker.port, "unread", raw.prepare("unread", 10_000, BATCH_BYTES, 1), requests=BATCHES)
        raw.create_topic(broker.port, "other")
        written = raw.prepare("other", 100, 200, 1).request
        ask = raw.fetch_frame("unread", 0, 50_000_000)
        other = raw.RawConnection(broker.port)
        opened: list[socket.socket] = []
        waited = []
        try:
            for number in range(count):
                opened.append(_socket(broker.port, number, receive_buffer_bytes=4_096))
                opened[-1].sendall(ask)
                if number % PROBE_EVERY == 0:
                    began = time.perf_counter()
                    for request in (written, raw.fetch_frame("other", 0, raw.FETCH_BYTES)):
                        other.send(request)
                        other.receive()
                    waited.append((time.perf_counter() - began) * 1_000)
            figures = {"p50_ms": statistics.median(waited), "max_ms": max(waited), "rss_mb": broker.rss_mb()}
        finally:
            other.close()
            for connection in opened:
                connection.close()
    return Row(name=f"a write and a read beside {count:,} consumers that never read", figures=figures)


def _socket(port: int, number: int, *, receive_buffer_bytes: int = 0) -> socket.socket:
    """From one of several local addresses: one has only so many ports."""
    connection = socket.socket()
    if receive_buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.bind((f"127.0.1.{1 + number % 8}", 0))
    connection.connect(("127.0.0.1", port))
    return connection


def _connect(port: int, count: int) -> list[socket.socket]:
    """Each has sent a request and been answered: the broker has accepted it and made its session."""
    hello = bytes.fromhex("0000000a00120000000000 01ffff".replace(" ", ""))
    opened = []
    for number in range(count):
        connection = _socket(port, number)
        connection.sendall(hello)
        opened.append(connection)
    for connection in opened:
        if not connection.recv(1 << 16):
            raise RuntimeError("the broker turned a connection away")
    return opened


def _idle_cpu(broker: BrokerUnderTest, scale: float) -> float:
    time.sleep(SETTLE_SECONDS)
    cpu, began = broker.cpu_seconds(), time.monotonic()
    time.sleep(max(3, 10 * scale))
    return (broker.cpu_seconds() - cpu) / (time.monotonic() - began) * 100
