"""A connection to the session's broker for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.broker_process import BrokerProcess
from tests.support.wire import Wire


@pytest.fixture
def wire(broker_process: BrokerProcess) -> Iterator[Wire]:
    with Wire(broker_process.port) as connection:
        yield connection
