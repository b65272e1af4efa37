"""What connections cost: memory and CPU of idle ones, and how fast they are accepted."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from bench import raw
from bench.broker import BrokerUnderTest
from bench.rows import Row

COUNTS = (2_000, 10_000)
SETTLE_SECONDS = 6
"""The first checkpoint, five seconds after the start, is work and not idleness."""


def connections(scale: float) -> Iterator[Row]:
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


def _connect(port: int, count: int) -> list[socket.socket]:
    """Each has sent a request and been answered: the broker has accepted it and made its session."""
    hello = bytes.fromhex("0000000a00120000000000 01ffff".replace(" ", ""))
    opened = []
    for number in range(count):
        connection = socket.socket()
        connection.bind((f"127.0.1.{1 + number % 8}", 0))
        connection.connect(("127.0.0.1", port))
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
