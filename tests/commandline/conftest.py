"""Fixtures of the command line's tests: a command runner, and topics and groups nobody else uses."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from broker.client.blocking import Client
from tests.commandline.run import Cli
from tests.support.broker_process import BrokerProcess


@pytest.fixture
def cli(broker_process: BrokerProcess) -> Cli:
    return Cli(broker_process.bootstrap)


@pytest.fixture
def client(broker_process: BrokerProcess) -> Iterator[Client]:
    with Client(broker_process.bootstrap) as client:
        yield client


@pytest.fixture
def name() -> str:
    return f"cli-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topic(client: Client, name: str) -> Iterator[str]:
    """Two partitions; the first has the records v0 to v9, a second apart from second 1 on."""
    client.create_topic(name, 2, 1)
    for number in range(10):
        client.produce(name, b"k%d" % number, b"v%d" % number, partition=0, timestamp_ms=(number + 1) * 1_000)
    yield name
    client.delete_topic(name)
