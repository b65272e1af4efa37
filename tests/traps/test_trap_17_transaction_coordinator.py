"""Trap 17: the coordinator of transactions bounds their time, fences whoever shares an id, takes a repeated end for the same end, ends
by itself what nobody ends, and sees its markers through to every partition, offsets included, whatever the group is doing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.topics import create_topic, fetch
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.transactions.version_2 import Producer
from tests.traps.member import Member, form, key_of, new_name, until_ready, until_rebalancing
from tests.traps.pair import topic_on

FIFTEEN_MINUTES_MS = 15 * 60_000


@pytest.fixture
def producer(wire: Wire, broker_process: BrokerProcess) -> Iterator[Producer]:
    with Producer(broker_process.port, new_name()) as one:
        until_ready(wire, one)
        yield one


def refusal(producer: Producer, topic: str) -> ErrorCode | None:
    try:
        producer.produce(topic, b"v")
    except KafkaError as error:
        return error.code
    return None


def stable(wire: Wire, topic: str) -> tuple[int, int]:
    found = fetch(wire, topic, isolation_level=1)
    return found.last_stable_offset, found.high_watermark


def test_a_time_beyond_the_longest_is_refused(producer: Producer) -> None:
    for timeout_ms in (FIFTEEN_MINUTES_MS + 1, 0, -1):
        with pytest.raises(KafkaError) as refused:
            producer.init(timeout_ms)
        assert refused.value.code == ErrorCode.INVALID_TRANSACTION_TIMEOUT
    producer.init(FIFTEEN_MINUTES_MS)


def test_who_takes_the_same_id_ends_what_is_open_and_fences_who_had_it(
    wire: Wire, producer: Producer, broker_process: BrokerProcess
) -> None:
    topic = create_topic(wire)
    producer.produce(topic, b"left open")
    with Producer(broker_process.port, producer.transactional_id) as successor:
        until_ready(wire, successor)
        assert successor.id == producer.id
        assert successor.epoch > producer.epoch
        wait_until(lambda: stable(wire, topic) == (2, 2), "what was open is aborted")
        assert [one.first_offset for one in fetch(wire, topic, isolation_level=1).aborted_transactions] == [0]
        assert refusal(producer, topic) == ErrorCode.INVALID_PRODUCER_EPOCH
        with pytest.raises(KafkaError) as fenced:
            producer.end(commit=True)
        assert fenced.value.code == ErrorCode.PRODUCER_FENCED
        assert refusal(successor, topic) is None


@pytest.mark.parametrize("version", [4, 5])
def test_the_same_end_once_more_is_a_success_and_the_other_one_is_not(wire: Wire, producer, version: int) -> None:
    topic = create_topic(wire)
    producer.produce(topic, b"v")
    r = m.EndTxnRequest
    identity = {"producer_id": producer.id, "producer_epoch": producer.epoch}

    def end(commit: bool):
        request = r(transactional_id=producer.transactional_id, committed=commit, **identity)

        def answer():
            found = wire.call(ApiKey.END_TXN, version, request)
            return None if found.error_code == ErrorCode.CONCURRENT_TRANSACTIONS else found

        return wait_until(answer, "the end is complete")

    first = end(commit=True)
    again = end(commit=True)
    assert (first.error_code, again.error_code) == (0, 0)
    assert (again.producer_id, again.producer_epoch) == (first.producer_id, first.producer_epoch)
    if version == 5:
        assert first.producer_epoch == producer.epoch + 1
    assert end(commit=False).error_code == ErrorCode.INVALID_TXN_STATE
    wait_until(lambda: stable(wire, topic) == (2, 2), "one marker, and no second one")


def test_markers_reach_the_offsets_of_a_group_that_is_rebalancing(
    wire: Wire, producer: Producer, broker_process: BrokerProcess
) -> None:
    topic = create_topic(wire)
    group_id = new_name()
    with Wire(broker_process.port) as other:
        member, newcomer = Member(wire, group_id), Member(other, group_id)
        form(member)
        r = m.TxnOffsetCommitRequest
        item = r.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=7, committed_metadata="")
        request = r(
            transactional_id=producer.transactional_id,
            group_id=group_id,
            producer_id=producer.id,
            producer_epoch=producer.epoch,
            generation_id=member.generation,
            member_id=member.member_id,
            topics=[r.TxnOffsetCommitRequestTopic(name=topic, partitions=[item])],
        )
        (answer,) = wire.call(ApiKey.TXN_OFFSET_COMMIT, 5, request).topics[0].partitions
        assert answer.error_code == 0
        newcomer.ask_to_join()
        newcomer.joined()
        newcomer.ask_to_join()
        until_rebalancing(member)
        producer.end(commit=True)
        wait_until(lambda: member.committed(topic, stable=True)[0].committed_offset == 7, "the offset is in force")
        assert member.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS, "and the round goes on"


def test_what_nobody_ends_is_aborted_when_its_time_is_over(two_brokers: tuple[BrokerProcess, BrokerProcess]) -> None:
    port = two_brokers[0].port
    with Wire(port) as wire, Producer(port, key_of(wire, 1, key_type=1)) as producer:
        topic = topic_on(wire, 1)
        until_ready(wire, producer, timeout_ms=100)
        producer.produce(topic, b"forgotten")
        wait_until(lambda: stable(wire, topic) == (2, 2), "it is aborted, and holds nobody back")
        assert [one.first_offset for one in fetch(wire, topic, isolation_level=1).aborted_transactions] == [0]
        assert refusal(producer, topic) == ErrorCode.INVALID_PRODUCER_EPOCH, "its epoch is raised"


def test_nobody_gets_the_id_while_its_last_transaction_is_being_completed(
    two_brokers: tuple[BrokerProcess, BrokerProcess],
) -> None:
    here, away = two_brokers
    with Wire(here.port) as wire, Producer(away.port, key_of(wire, 1, key_type=1), coordinator_port=here.port) as one:
        topic = topic_on(wire, 2)
        until_ready(wire, one)
        one.produce(topic, b"v")
        away.pause()
        try:
            one.end(commit=True)
            for _ in range(2):
                with pytest.raises(KafkaError) as waiting:
                    one.init()
                assert waiting.value.code == ErrorCode.CONCURRENT_TRANSACTIONS
                assert waiting.value.retriable
        finally:
            away.resume()
        epoch = one.epoch
        until_ready(wire, one)
        assert one.epoch == epoch + 1
        with Wire(away.port) as there:
            assert stable(there, topic) == (2, 2), "the marker came first"
