"""Transaction version 2 end to end on a real broker, byte by byte: adding by writing, an epoch per transaction, late requests."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.client.blocking import Client
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.committed import committed
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.transactions.version_2 import Producer


@pytest.fixture(scope="module")
def client(broker_process: BrokerProcess) -> Iterator[Client]:
    with Client(broker_process.bootstrap) as opened:
        yield opened


@pytest.fixture
def topic(client: Client) -> str:
    name = f"version-2-{uuid.uuid4().hex[:8]}"
    client.create_topic(name, 2, 1)
    return name


@pytest.fixture
def producer(broker_process: BrokerProcess, topic: str) -> Iterator[Producer]:
    coordinator_of(broker_process, topic)
    with Producer(broker_process.port, topic) as opened:
        opened.init()
        yield opened


def coordinator_of(broker: BrokerProcess, key: str) -> int:
    with Wire(broker.port) as wire:
        answer = wire.call(ApiKey.FIND_COORDINATOR, 3, m.FindCoordinatorRequest(key=key, key_type=1))
    assert answer.error_code == 0
    return int(answer.node_id)


def test_writing_adds_the_partition_and_every_end_raises_the_epoch(
    producer: Producer, client: Client, topic: str
) -> None:
    identities = [producer.identity]
    for number, commit in enumerate((True, False, True)):
        producer.produce(topic, b"%d" % number)
        producer.produce(topic, b"%d" % number, partition=1)
        described = client.describe_transaction(topic)
        assert (described.state, len(described.partitions)) == ("Ongoing", 2)
        producer.end(commit=commit)
        identities.append(producer.identity)
    first = identities[0]
    assert identities == [(first[0], first[1] + bump) for bump in range(4)]
    assert committed(client, topic) == committed(client, topic, 1) == [b"0", b"2"]


def test_a_late_write_of_an_ended_transaction_is_refused_and_not_taken_into_the_next(
    producer: Producer, client: Client, topic: str, broker_process: BrokerProcess
) -> None:
    producer.produce(topic, b"first")
    late = producer.request(topic, b"late", 0, 1)
    producer.end(commit=False)
    producer.produce(topic, b"second")
    with Wire(broker_process.port) as wire:
        (answer,) = wire.call(ApiKey.PRODUCE, 12, late).responses[0].partition_responses
    assert answer.error_code == ErrorCode.INVALID_PRODUCER_EPOCH
    producer.end(commit=True)
    assert committed(client, topic) == [b"second"]


def test_a_late_end_cannot_end_the_next_transaction(
    producer: Producer, client: Client, topic: str, broker_process: BrokerProcess
) -> None:
    producer.produce(topic, b"first")
    late = m.EndTxnRequest(
        transactional_id=topic, producer_id=producer.id, producer_epoch=producer.epoch, committed=False
    )
    producer.end(commit=True)
    producer.produce(topic, b"second")
    with Wire(broker_process.port) as wire:
        assert wire.call(ApiKey.END_TXN, 5, late).error_code == ErrorCode.PRODUCER_FENCED
    producer.end(commit=True)
    assert committed(client, topic) == [b"first", b"second"]


def test_an_end_that_is_repeated_is_answered_alike(
    producer: Producer, topic: str, broker_process: BrokerProcess
) -> None:
    producer.produce(topic, b"once")
    request = m.EndTxnRequest(
        transactional_id=topic, producer_id=producer.id, producer_epoch=producer.epoch, committed=True
    )
    with Wire(broker_process.port) as wire:
        answers = [wire.call(ApiKey.END_TXN, 5, request) for _ in range(3)]
    assert {(a.error_code, a.producer_id, a.producer_epoch) for a in answers} == {(0, producer.id, producer.epoch + 1)}


def test_a_new_producer_aborts_what_the_old_one_left_open_and_fences_it(
    producer: Producer, client: Client, topic: str, broker_process: BrokerProcess
) -> None:
    producer.produce(topic, b"zombie")
    with Producer(broker_process.port, topic) as other:
        other.init()
        assert other.identity == (producer.id, producer.epoch + 2)
        for late in (lambda: producer.produce(topic, b"zombie"), lambda: producer.end(commit=True)):
            with pytest.raises(KafkaError) as fenced:
                late()
            assert fenced.value.code in (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.PRODUCER_FENCED)
        other.produce(topic, b"alive")
        other.end(commit=True)
    assert committed(client, topic) == [b"alive"]


def test_an_abort_before_anything_was_written_costs_an_epoch_only(
    producer: Producer, client: Client, topic: str
) -> None:
    before = producer.identity
    producer.end(commit=False)
    assert producer.identity == (before[0], before[1] + 1)
    assert client.describe_transaction(topic).state == "CompleteAbort"
    with pytest.raises(KafkaError) as refused:
        producer.end(commit=True)
    assert refused.value.code is ErrorCode.INVALID_TXN_STATE


def test_an_operator_terminates_a_transaction(producer: Producer, client: Client, topic: str) -> None:
    producer.produce(topic, b"stuck")
    client.terminate_transaction(topic)
    with pytest.raises(KafkaError):
        producer.produce(topic, b"stuck")
    assert committed(client, topic) == []
    assert client.describe_transaction(topic).state == "Empty"


def test_what_was_answered_stands_though_the_broker_dies_at_once(tmp_path: Path) -> None:
    """kill -9 behind the answer: markers and completion are still under way, or not even begun."""
    with BrokerProcess(tmp_path, OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS="3") as broker:
        with Client(broker.bootstrap) as client:
            client.create_topic("kept", 1, 1)
        coordinator_of(broker, "kept")
        expected: list[bytes | None] = []
        for number, commit in enumerate((True, False, True)):
            value = b"%d" % number
            with Producer(broker.port, "kept") as producer:
                producer.init()
                producer.produce("kept", value)
                producer.end(commit=commit)
                broker.kill()
            expected += [value] if commit else []
            broker.start()
            with Client(broker.bootstrap) as client:
                assert committed(client, "kept") == expected
                described = wait_until(lambda: settled_state(client), "the transaction is complete")
                assert described == ("CompleteCommit" if commit else "CompleteAbort")


def settled_state(client: Client) -> str | None:
    state = client.describe_transaction("kept").state
    return state if state.startswith("Complete") else None
