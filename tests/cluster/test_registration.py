from __future__ import annotations

import asyncio
import contextlib

import pytest

from broker.clock import ManualClock
from broker.cluster import records
from broker.cluster.registration import DataStanding, Registration
from broker.config.broker import BrokerConfig
from tests.metadata.memory import MemoryCluster, MemoryStore
from tests.support.wait import eventually


@pytest.mark.parametrize("settled", [False, True])
async def test_what_was_lost_is_confessed_with_every_session_until_the_controller_has_heard_of_it(
    settled: bool,
) -> None:
    clock = ManualClock()
    cluster = MemoryCluster(clock=clock)
    config = BrokerConfig.from_environment({}, node_id=1, broker_heartbeat_interval_ms=100)
    registration = Registration(MemoryStore(cluster), config=lambda: config, incarnation="life", clock=clock)
    data = DataStanding(intact=False)
    await registration.open(host=None, port=1, internal_host=None, internal_port=2, data=data, still_lost=tuple)
    if settled:
        registration.note_settled()

    assert registration.session is not None
    cluster.end(registration.session)
    keeping = asyncio.create_task(registration.keep())
    try:
        await eventually(lambda: "brokers/1" in cluster.entries)
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping

    registered = records.decode("brokers/1", cluster.entries["brokers/1"].value, records.BrokerRecord)
    assert (registered.incarnation, registered.data_intact) == ("life.1", settled)
