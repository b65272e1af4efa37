"""Long polls over several partitions, and batches that cannot be opened, against the real broker and by hand."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from broker.client.asynchronous import AsyncClient
from broker.client.reader import _read
from broker.client.results import FetchedRecords
from broker.errors import ErrorCode, KafkaError
from broker.protocol.records import Record, build_batch
from tests.support.broker_process import BrokerProcess


def answer(*batches: bytes, high_watermark: int = 100) -> Any:
    return SimpleNamespace(
        records=b"".join(batches),
        aborted_transactions=None,
        high_watermark=high_watermark,
        last_stable_offset=high_watermark,
        log_start_offset=0,
    )


def batch(base_offset: int, count: int) -> bytearray:
    return build_batch(
        [Record(offset=base_offset + index, timestamp=1, value=b"v") for index in range(count)],
        base_offset=base_offset,
    )


def broken(base_offset: int, count: int) -> bytearray:
    content = batch(base_offset, count)
    content[-1] ^= 0xFF
    return content


def test_a_damaged_batch_is_raised_unless_it_may_be_passed_over() -> None:
    data = answer(batch(0, 2), broken(2, 3), batch(5, 1))
    with pytest.raises(KafkaError, match="checksum"):
        _read(data, "orders", 0, 0, None)
    read = _read(data, "orders", 0, 0, None, skip_damaged=True)
    assert [record.offset for record in read.records] == [0, 1, 5]
    assert [(one.base_offset, one.last_offset) for one in read.damaged] == [(2, 4)]
    assert read.next_offset == 6


def test_a_damaged_batch_at_the_end_does_not_lead_past_what_exists() -> None:
    content = broken(0, 1)
    content[23:27] = (1_000_000).to_bytes(4, "big")  # Its last offset delta, which its checksum no longer covers.
    read = _read(answer(content, high_watermark=50), "orders", 0, 0, None, skip_damaged=True)
    assert read.next_offset == 50
    assert _read(answer(broken(10, 1), high_watermark=5), "orders", 0, 10, None, skip_damaged=True).next_offset == 11


async def test_partitions_answer_together_each_with_its_own_result(broker_process: BrokerProcess) -> None:
    async with AsyncClient(broker_process.bootstrap) as client:
        await client.topics.create("fetch-many", 3, 1)
        await client.producer.produce("fetch-many", b"k", b"zero", partition=0)
        await client.producer.produce("fetch-many", b"k", b"two", partition=2)
        found = await client.reader.fetch_many("fetch-many", {0: 0, 1: 0, 2: 7}, max_wait_ms=50)
        assert isinstance(found[0], FetchedRecords)
        assert [record.value for record in found[0].records] == [b"zero"]
        assert isinstance(found[1], FetchedRecords)
        assert found[1].records == ()
        assert isinstance(found[2], KafkaError)
        assert found[2].code is ErrorCode.OFFSET_OUT_OF_RANGE


async def test_a_long_poll_ends_when_a_record_arrives(broker_process: BrokerProcess) -> None:
    async with AsyncClient(broker_process.bootstrap) as client:
        await client.topics.create("fetch-many-poll", 2, 1)
        polling = asyncio.create_task(client.reader.fetch_many("fetch-many-poll", {0: 0, 1: 0}, max_wait_ms=20_000))
        await asyncio.sleep(0)
        await client.producer.produce("fetch-many-poll", b"k", b"now", partition=1)
        found = await asyncio.wait_for(polling, 10)
        assert isinstance(found[1], FetchedRecords)
        assert [record.value for record in found[1].records] == [b"now"]
