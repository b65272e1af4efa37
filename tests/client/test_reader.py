"""Browsing a partition: whole batches in, the wanted records out."""

from typing import Any

import pytest

from broker.client.asynchronous import AsyncClient
from broker.client.results import FetchedRecords
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch
from tests.client.fake_broker import FakeBroker


def batch(base_offset: int, *values: bytes, **options: Any) -> bytes:
    records = [Record(timestamp=1_000 + index, key=b"k", value=value) for index, value in enumerate(values)]
    return bytes(build_batch(records, base_offset=base_offset, **options))


def marker(base_offset: int, producer_id: int) -> bytes:
    record = Record(timestamp=1, key=b"\0\0\0\0", value=b"\0\0\0\0\0\0")
    return bytes(
        build_batch(
            [record],
            base_offset=base_offset,
            producer_id=producer_id,
            producer_epoch=0,
            is_transactional=True,
            is_control=True,
        )
    )


async def fetch(
    records: bytes | None,
    offset: int = 0,
    *,
    aborted: tuple[tuple[int, int], ...] = (),
    error_code: int = 0,
    records_max: int | None = None,
) -> FetchedRecords:
    def answer(version: int, request: Any) -> Any:
        (topic,) = request.topics
        assert topic.partitions[0].fetch_offset == offset
        partition = m.FetchResponse.PartitionData(
            partition_index=topic.partitions[0].partition,
            error_code=error_code,
            high_watermark=100,
            last_stable_offset=90,
            log_start_offset=1,
            aborted_transactions=[
                m.FetchResponse.AbortedTransaction(producer_id=producer, first_offset=first)
                for producer, first in aborted
            ],
            records=records,
        )
        return m.FetchResponse(
            responses=[m.FetchResponse.FetchableTopicResponse(topic=topic.topic, partitions=[partition])]
        )

    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.answers[ApiKey.FETCH] = answer
        return await client.reader.fetch("orders", 0, offset, records_max=records_max, read_committed=bool(aborted))


def values(found: FetchedRecords) -> list[tuple[int, bytes | None]]:
    return [(record.offset, record.value) for record in found.records]


async def test_records_of_several_batches_come_in_order() -> None:
    found = await fetch(batch(5, b"a", b"b") + batch(7, b"c", compression="gzip"), 5)
    assert values(found) == [(5, b"a"), (6, b"b"), (7, b"c")]
    assert (found.next_offset, found.high_watermark, found.last_stable_offset, found.log_start_offset) == (
        8,
        100,
        90,
        1,
    )


async def test_a_record_carries_what_a_person_wants_to_see() -> None:
    record = Record(timestamp=7, key=b"key", value=None, headers=[("trace", b"1"), ("none", None)])
    found = await fetch(
        bytes(build_batch([record], base_offset=3, producer_id=9, producer_epoch=0, base_sequence=0)), 3
    )
    (seen,) = found.records
    assert (seen.topic, seen.partition, seen.offset, seen.timestamp_ms) == ("orders", 0, 3, 7)
    assert (seen.key, seen.value, seen.headers) == (b"key", None, (("trace", b"1"), ("none", None)))
    assert (seen.timestamp_type, seen.compression, seen.producer_id) == ("CreateTime", "none", 9)
    assert seen.size_bytes == 3 + 5 + 1 + 4


async def test_log_append_time_replaces_the_records_own() -> None:
    found = await fetch(bytes(build_batch([Record(timestamp=1, value=b"x")], log_append_time_ms=777)))
    assert [(r.timestamp_ms, r.timestamp_type) for r in found.records] == [(777, "LogAppendTime")]


async def test_records_before_the_wanted_offset_are_left_out() -> None:
    found = await fetch(batch(0, b"a", b"b", b"c"), 2)
    assert values(found) == [(2, b"c")]


async def test_a_batch_cut_off_at_the_end_is_left_for_the_next_fetch() -> None:
    whole, cut = batch(0, b"a"), batch(1, b"b")
    found = await fetch(whole + cut[:-3])
    assert values(found) == [(0, b"a")]
    assert found.next_offset == 1


@pytest.mark.parametrize("records", [None, b""])
async def test_no_records_leave_the_position_where_it_is(records: bytes | None) -> None:
    found = await fetch(records, 4)
    assert (found.records, found.next_offset) == ((), 4)


async def test_reading_stops_after_as_many_records_as_wanted() -> None:
    found = await fetch(batch(0, b"a", b"b", b"c"), records_max=2)
    assert values(found) == [(0, b"a"), (1, b"b")]
    assert found.next_offset == 2


async def test_markers_are_passed_over() -> None:
    found = await fetch(batch(0, b"a") + marker(1, 7))
    assert values(found) == [(0, b"a")]
    assert found.next_offset == 2


async def test_an_aborted_transaction_is_not_shown_but_the_same_producers_next_one_is() -> None:
    transaction = {"producer_id": 7, "producer_epoch": 0, "base_sequence": 0, "is_transactional": True}
    records = batch(0, b"aborted", **transaction) + marker(1, 7) + batch(2, b"kept", **transaction) + marker(3, 7)
    found = await fetch(records, aborted=((7, 0),))
    assert values(found) == [(2, b"kept")]
    assert found.next_offset == 4


async def test_a_damaged_batch_is_an_error_and_not_a_guess() -> None:
    damaged = bytearray(batch(0, b"abc"))
    damaged[-2] ^= 0xFF
    with pytest.raises(KafkaError) as failure:
        await fetch(bytes(damaged))
    assert failure.value.code is ErrorCode.CORRUPT_MESSAGE


async def test_an_offset_out_of_range_is_the_brokers_answer() -> None:
    with pytest.raises(KafkaError, match="orders-0") as failure:
        await fetch(None, 9, error_code=ErrorCode.OFFSET_OUT_OF_RANGE)
    assert failure.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
