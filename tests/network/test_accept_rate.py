"""``max.connection.creation.rate`` on a real broker, set while it runs."""

from __future__ import annotations

import time
from pathlib import Path

from broker.client.blocking import Client
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.wire import Wire


def test_connections_above_the_rate_are_served_in_turn_and_none_is_lost(tmp_path: Path) -> None:
    with BrokerProcess(tmp_path) as broker, Client(broker.bootstrap) as client:
        client.alter_broker_configs(None, {"max.connection.creation.rate": "4"})
        began = time.monotonic()
        wires = [Wire(broker.port) for _ in range(8)]
        try:
            for wire in wires:
                wire.request(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest())
            answered = []
            for wire in wires:
                assert wire.answer(ApiKey.API_VERSIONS, 0)[1].error_code == 0
                answered.append(time.monotonic() - began)
        finally:
            for wire in wires:
                wire.socket.close()
        assert answered[1] < 0.5, "a second's worth comes at once"
        assert answered[-1] > 0.7, "the last waited for its turn"
        client.alter_broker_configs(None, {"max.connection.creation.rate": None})
        began = time.monotonic()
        for _ in range(20):
            with Wire(broker.port) as wire:
                assert wire.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()).error_code == 0
        assert time.monotonic() - began < 3
