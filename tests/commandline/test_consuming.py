"""The loop of the readers: why it ends, and what it says then."""

from __future__ import annotations

import asyncio

import pytest

from broker.client.asynchronous import AsyncClient
from broker.commandline.consuming import Limits, consume_partitions, start_positions
from broker.commandline.outcome import WrongUse
from broker.commandline.record_text import ReadRecord
from broker.commandline.signals import unless_stopped
from tests.support.broker_process import BrokerProcess


async def test_it_reads_to_where_the_log_ended_and_says_so(broker_process: BrokerProcess, topic: str) -> None:
    found: list[ReadRecord] = []
    async with AsyncClient(broker_process.bootstrap) as client:
        positions = await start_positions(client, topic, None, "earliest", None)

        def handle(record: ReadRecord) -> None:
            found.append(record)

        consumed = await consume_partitions(client, topic, positions, Limits(at_end=True), handle, asyncio.Event())
        assert (consumed.records, consumed.reached_end) == (10, True)
        assert [record.offset for record in found] == list(range(10))


async def test_stopped_before_the_end_it_does_not_claim_to_have_reached_it(
    broker_process: BrokerProcess, topic: str
) -> None:
    stopping = asyncio.Event()
    async with AsyncClient(broker_process.bootstrap) as client:
        consumed = await consume_partitions(
            client,
            topic,
            {0: 0},
            Limits(records_max=None, at_end=True),
            lambda record: stopping.set(),
            stopping,
            fetch_bytes=1,
        )
        assert (consumed.records, consumed.reached_end) == (1, False)


async def test_waiting_for_records_ends_at_once_when_it_is_stopped(broker_process: BrokerProcess, topic: str) -> None:
    stopping = asyncio.Event()
    async with AsyncClient(broker_process.bootstrap) as client, asyncio.timeout(10):
        asyncio.get_running_loop().call_later(0.05, stopping.set)
        consumed = await consume_partitions(client, topic, {1: 0}, Limits(), lambda record: None, stopping)
        assert consumed.records == 0


async def test_work_that_is_stopped_is_cancelled_and_work_that_fails_fails() -> None:
    stopping = asyncio.Event()
    assert await unless_stopped(asyncio.sleep(0, "done"), stopping) == "done"
    with pytest.raises(ZeroDivisionError):
        await unless_stopped(_fail(), stopping)
    stopping.set()
    assert await unless_stopped(asyncio.sleep(60, "late"), stopping) is None


async def _fail() -> None:
    raise ZeroDivisionError


async def test_a_partition_that_is_not_there_is_wrong_use(broker_process: BrokerProcess, topic: str) -> None:
    async with AsyncClient(broker_process.bootstrap) as client:
        with pytest.raises(WrongUse, match="2 partition"):
            await start_positions(client, topic, [0, 5], "earliest", None)
