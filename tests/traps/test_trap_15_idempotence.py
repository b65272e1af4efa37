"""Trap 15: of each producer the last five batches are remembered. One of them sent again is a success with its first offset; a gap
is an error; numbers wrap; a newer epoch starts from zero and fences the older; and all of it outlives a restart."""

from __future__ import annotations

import itertools

import pytest

from broker.errors import ErrorCode
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, fetch, produce
from tests.support.wire import Wire

_ids = itertools.count(15_000)


class Producer:
    def __init__(self, wire: Wire, topic: str) -> None:
        self.wire, self.topic, self.id = wire, topic, next(_ids)

    def send(self, sequence: int, count: int = 1, *, epoch: int = 0) -> tuple[int, int]:
        """(error code, base offset)"""
        records = batch(*[b"v"] * count, producer_id=self.id, producer_epoch=epoch, base_sequence=sequence)
        result = produce(self.wire, self.topic, records)
        return result.error_code, result.base_offset


@pytest.fixture
def producer(wire: Wire) -> Producer:
    return Producer(wire, create_topic(wire))


def test_any_of_the_last_five_sent_again_is_answered_with_where_it_is(producer: Producer) -> None:
    for sequence in range(0, 12, 2):
        assert producer.send(sequence, 2) == (0, sequence)
    for sequence in range(2, 12, 2):
        assert producer.send(sequence, 2) == (0, sequence)
    assert fetch(producer.wire, producer.topic).high_watermark == 12


def test_older_ones_are_duplicates_without_a_place_and_gaps_are_out_of_order(producer: Producer) -> None:
    for sequence in range(7):
        producer.send(sequence)
    assert producer.send(0)[0] in (ErrorCode.DUPLICATE_SEQUENCE_NUMBER, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
    assert producer.send(9)[0] == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert producer.send(7) == (0, 7), "an error leaves the producer where it was"


def test_the_number_after_the_largest_is_zero(producer: Producer) -> None:
    assert producer.send(2**31 - 3, 2) == (0, 0)
    assert producer.send(2**31 - 1, 3) == (0, 2), "one batch may hold the wrap"
    assert producer.send(2) == (0, 5)


def test_a_producer_nobody_knows_may_begin_anywhere(producer: Producer) -> None:
    assert producer.send(4711) == (0, 0)
    assert producer.send(4712) == (0, 1)


def test_a_newer_epoch_begins_with_zero_and_fences_the_older(producer: Producer) -> None:
    producer.send(0)
    assert producer.send(5, epoch=1)[0] == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert producer.send(0, epoch=1) == (0, 1)
    assert producer.send(1, epoch=0)[0] == ErrorCode.INVALID_PRODUCER_EPOCH


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_forgets_nothing(tmp_path, end: str) -> None:
    with BrokerProcess(tmp_path) as broker:
        with Wire(broker.port) as wire:
            producer = Producer(wire, create_topic(wire))
            for sequence in range(3):
                assert producer.send(sequence) == (0, sequence)
        getattr(broker, end)()
        broker.start()
        with Wire(broker.port) as wire:
            producer.wire = wire
            assert producer.send(2) == (0, 2), "a duplicate from before"
            assert producer.send(4)[0] == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
            assert producer.send(3) == (0, 3)
