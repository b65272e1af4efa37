"""Trap 6, KIP-219: a throttled client is answered at once and told how long it has to wait; only then is it muted.

Delaying the answer instead makes clients run into their request timeout and send again. Closing the session of a
throttled fetch makes them fetch everything anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from broker.client.blocking import Client
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.topics import batch, create_topic, fetch_request, produce_request
from tests.support.wire import Wire, request_frame

PRODUCER, CONSUMER = "trap-6-producer", "trap-6-consumer"
BYTE_RATE = 2_000
"""Ten seconds of it are a burst that costs nothing."""


@pytest.fixture(scope="module")
def internal(broker_process: BrokerProcess) -> Iterator[Client]:
    with Client(f"127.0.0.1:{broker_process.internal_port}", broker_process.cluster_secret) as client:
        yield client


@pytest.fixture(autouse=True, scope="module")
def quotas(broker_process: BrokerProcess) -> Iterator[None]:
    limits = {
        "quota.producer.byte.rate.overrides": f"{PRODUCER}:{BYTE_RATE}",
        "quota.consumer.byte.rate.overrides": f"{CONSUMER}:{BYTE_RATE}",
    }
    with Client(broker_process.bootstrap) as client:
        client.alter_broker_configs(None, limits)
        yield
        client.alter_broker_configs(None, dict.fromkeys(limits))


def ask(wire: Wire, key: ApiKey, version: int, message: object, client_id: str, correlation_id: int) -> None:
    wire.send(request_frame(key, version, message, correlation_id=correlation_id, client_id=client_id))


@pytest.fixture
def topic(broker_process: BrokerProcess) -> str:
    with Wire(broker_process.port) as wire:
        return create_topic(wire)


def test_a_producer_is_answered_at_once_and_then_muted(
    broker_process: BrokerProcess, topic: str, internal: Client
) -> None:
    too_much = produce_request({(topic, 0): batch(b"x" * 23_000)}, acks=1)
    with Wire(broker_process.port) as wire, Wire(broker_process.port) as other:
        began = time.monotonic()
        ask(wire, ApiKey.PRODUCE, 9, too_much, PRODUCER, 1)
        correlation_id, answer = wire.answer(ApiKey.PRODUCE, 9)
        assert time.monotonic() - began < 1, "the answer itself is not delayed"
        assert correlation_id == 1
        assert 1_000 < answer.throttle_time < 2_500
        ask(wire, ApiKey.METADATA, 9, m.MetadataRequest(topics=[]), PRODUCER, 2)
        ask(other, ApiKey.METADATA, 9, m.MetadataRequest(topics=[]), PRODUCER, 3)
        assert other.answer(ApiKey.METADATA, 9)[0] == 3, "another connection is not disturbed"
        (muted,) = [e for e in internal.connections(client_id=PRODUCER).connections if e.muted]
        assert muted.throttled_ms == answer.throttle_time
        assert wire.answer(ApiKey.METADATA, 9)[0] == 2
        assert time.monotonic() - began > 0.9 * answer.throttle_time / 1_000, "nothing was read in the meantime"


def test_a_fetch_is_answered_without_records_in_the_same_session(broker_process: BrokerProcess, topic: str) -> None:
    with Wire(broker_process.port, timeout=30) as wire:
        for _ in range(3):
            wire.call(ApiKey.PRODUCE, 9, produce_request({(topic, 0): batch(b"y" * 11_000)}, acks=1))
        fetch = fetch_request(topic, max_bytes=12_000)
        fetch.session_epoch = 0
        ask(wire, ApiKey.FETCH, 12, fetch, CONSUMER, 1)
        first = wire.answer(ApiKey.FETCH, 12)[1]
        assert first.throttle_time == 0
        assert first.session_id > 0
        assert len(first.responses[0].partitions[0].records) > 11_000
        following = fetch_request(topic, max_bytes=12_000)
        following.session_id = first.session_id
        for offset in (1, 2):
            following.session_epoch, following.topics[0].partitions[0].fetch_offset = offset, offset
            ask(wire, ApiKey.FETCH, 12, following, CONSUMER, 1 + offset)
            throttled = wire.answer(ApiKey.FETCH, 12)[1]
            assert (throttled.throttle_time > 0) is (offset == 2), "it waits for what it has had"
        assert (throttled.error_code, throttled.session_id, throttled.responses) == (0, first.session_id, [])
        following.session_epoch, following.topics = 3, []
        began = time.monotonic()
        with Client(broker_process.bootstrap) as client:
            client.alter_broker_configs(None, {"quota.consumer.byte.rate.overrides": f"{CONSUMER}:1000000"})
        ask(wire, ApiKey.FETCH, 12, following, CONSUMER, 4)
        last = wire.answer(ApiKey.FETCH, 12)[1]
        assert time.monotonic() - began > 0.8 * throttled.throttle_time / 1_000
        assert (last.error_code, last.session_id, last.throttle_time) == (0, first.session_id, 0)
        assert len(last.responses[0].partitions[0].records) > 11_000, "what was held back comes now"
