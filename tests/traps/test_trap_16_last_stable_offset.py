"""Trap 16: the last stable offset is where the first open transaction begins, exclusively. Readers of committed records get what is
below it and are told which of that is aborted; all others get everything. Markers have offsets too, and readers get past them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.batch import scan_batches
from broker.protocol.records import iter_records
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, fetch, produce
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.transactions.version_2 import Producer
from tests.traps.member import new_name, until_ready

COMMITTED = 1


@pytest.fixture
def producers(wire: Wire, broker_process: BrokerProcess) -> Iterator[tuple[Producer, Producer]]:
    with Producer(broker_process.port, new_name()) as one, Producer(broker_process.port, new_name()) as other:
        for producer in (one, other):
            until_ready(wire, producer)
        yield one, other


def write(wire: Wire, topic: str) -> None:
    """A record outside any transaction, and of today: another day's would roll the segment, where a fetch ends."""
    assert produce(wire, topic, batch(b"alone", timestamp=time.time_ns() // 1_000_000)).error_code == 0


def read(wire: Wire, topic: str, offset: int = 0, *, isolation: int = COMMITTED) -> Any:
    return fetch(wire, topic, offset, isolation_level=isolation)


def offsets(records: bytes) -> list[int]:
    """Of what is in the batches, markers included."""
    return [record.offset for record in iter_records(records)]


def aborted(found: Any) -> list[int]:
    return [one.first_offset for one in found.aborted_transactions]


def latest(wire: Wire, topic: str, isolation: int) -> int:
    r = m.ListOffsetsRequest
    part = r.ListOffsetsPartition(partition_index=0, timestamp=-1)
    request = r(replica_id=-1, isolation_level=isolation, topics=[r.ListOffsetsTopic(name=topic, partitions=[part])])
    return int(wire.call(ApiKey.LIST_OFFSETS, 7, request).topics[0].partitions[0].offset)


def settled(wire: Wire, topic: str, end: int) -> None:
    wait_until(lambda: latest(wire, topic, COMMITTED) == end, f"all is decided below {end}")


def test_it_is_where_the_first_open_transaction_begins_and_not_part_of_it(wire: Wire, producers) -> None:
    topic = create_topic(wire)
    write(wire, topic)
    first, second = producers
    assert (first.produce(topic, b"a"), second.produce(topic, b"b")) == (1, 2)
    write(wire, topic)
    found = read(wire, topic)
    assert (found.last_stable_offset, found.high_watermark) == (1, 4)
    assert offsets(found.records) == [0]
    assert latest(wire, topic, COMMITTED) == 1
    second.end(commit=True)
    wait_until(lambda: read(wire, topic).high_watermark == 5, "the marker is written")
    assert read(wire, topic).last_stable_offset == 1, "the first one is still open"
    first.end(commit=True)
    settled(wire, topic, 6)
    assert offsets(read(wire, topic).records)[:4] == [0, 1, 2, 3]


def test_aborted_ranges_are_told_in_the_order_they_begin_and_only_where_they_reach(wire: Wire, producers) -> None:
    topic = create_topic(wire)
    first, second = producers
    first.produce(topic, b"a")
    second.produce(topic, b"b")
    second.end(commit=False)
    wait_until(lambda: read(wire, topic).high_watermark == 3, "the marker of the second")
    first.end(commit=False)
    settled(wire, topic, 4)
    found = read(wire, topic)
    assert aborted(found) == [0, 1]
    assert [one.producer_id for one in found.aborted_transactions] == [first.id, second.id]
    write(wire, topic)
    assert aborted(read(wire, topic, 4)) == [], "a list, and an empty one"


def test_who_reads_uncommitted_gets_aborted_records_and_no_list(wire: Wire, producers) -> None:
    topic = create_topic(wire)
    producers[0].produce(topic, b"given up")
    assert offsets(read(wire, topic, isolation=0).records) == [0], "also while it is open"
    producers[0].end(commit=False)
    settled(wire, topic, 2)
    found = read(wire, topic, isolation=0)
    assert [record.value for record in iter_records(found.records)][:1] == [b"given up"]
    assert found.aborted_transactions is None


def test_markers_have_offsets_and_the_end_of_the_log_can_be_reached(wire: Wire, producers) -> None:
    topic = create_topic(wire)
    producers[0].produce(topic, b"x")
    producers[0].end(commit=True)
    settled(wire, topic, 2)
    at = 0
    while at < latest(wire, topic, COMMITTED):
        headers = [header for _, header in scan_batches(read(wire, topic, at).records)]
        assert headers, f"nothing to read at {at}, below the end"
        at = headers[-1].next_offset
    assert at == 2
    assert offsets(read(wire, topic, 1).records) == [1], "the marker alone"
    assert read(wire, topic, 2).error_code == 0
