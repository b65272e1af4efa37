"""Requests that are taken and have to wait inside the broker: what they keep counts with the input that waits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, produce, produce_request
from tests.support.wait import wait_until
from tests.support.wire import Wire, request_frame

MIB = 1024 * 1024
REQUEST_BYTES = 6 * MIB
WAITING_BYTES_MAX = 16 * MIB
PRODUCERS = 40
WORK_BYTES_MAX = 64 * MIB
"""What two batches that are being recompressed may take, and the memory that is not given back at once."""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[BrokerProcess]:
    """Takes requests of 8 MiB, and lets 16 MiB of them wait."""
    settings = {
        "OTTLA_ACK_DURABILITY": "os",
        "OTTLA_SOCKET_REQUEST_MAX_BYTES": str(8 * MIB),
        "OTTLA_QUEUED_MAX_REQUEST_BYTES": str(WAITING_BYTES_MAX),
    }
    with BrokerProcess(tmp_path, **settings) as process:
        yield process


def test_batches_that_wait_to_be_recompressed_are_bounded_all_together(small: BrokerProcess) -> None:
    with Wire(small.port, timeout=60) as wire, contextlib.ExitStack() as opened:
        topic = create_topic(wire, compression_type="gzip", max_message_bytes=str(8 * MIB))
        incompressible = batch(os.urandom(REQUEST_BYTES))
        frame = request_frame(ApiKey.PRODUCE, 9, produce_request({(topic, 0): incompressible}, acks=1))
        before = small.rss_bytes()
        producers = [opened.enter_context(Wire(small.port, timeout=60)) for _ in range(PRODUCERS)]
        for producer in producers:
            producer.send(frame)
            assert small.rss_bytes() - before < WAITING_BYTES_MAX + WORK_BYTES_MAX
        outcomes = [producer.closed_by_broker() for producer in producers]
        assert True in outcomes, "who found no room was turned away"
        assert False in outcomes, "who found room was answered"
        assert produce(wire, topic, batch(b"later")).error_code == 0, "and there is room again"
    wait_until(lambda: small.rss_bytes() - before < WAITING_BYTES_MAX + WORK_BYTES_MAX, "what waited is given back")
