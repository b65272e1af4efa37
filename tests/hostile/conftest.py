"""One broker that is attacked by all tests of this directory: it has to outlive them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until
from tests.support.wire import Wire


@pytest.fixture(scope="session")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("victim"), OTTLA_ACK_DURABILITY="os") as process:
        yield process


@pytest.fixture
def wire(victim: BrokerProcess) -> Iterator[Wire]:
    with Wire(victim.port) as connection:
        yield connection


@pytest.fixture
def survives(victim: BrokerProcess) -> Iterator[None]:
    """After the test the broker still answers, met no fault of its own, and has not grown by more than noise."""
    before = victim.rss_bytes()
    yield
    assert victim.alive
    with Wire(victim.port) as connection:
        assert connection.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()).error_code == 0
    assert "Traceback" not in victim.output, victim.output[-4_000:]
    # Memory that is free again goes back to the system every ten seconds.
    wait_until(lambda: victim.rss_bytes() - before < 24 * 1024 * 1024, "what it grew by is given back", seconds=30)
