"""Trap 5: the answers of a connection come in the order of its requests, however long one of them takes; acks=0 has none, and
its failure is the end of the connection."""

from __future__ import annotations

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import batch, create_topic, fetch, fetch_request, produce, produce_request
from tests.support.wait import wait_until
from tests.support.wire import Wire


def test_nothing_overtakes_a_long_poll_a_slow_acknowledgement_or_a_group_round(wire: Wire) -> None:
    topic = create_topic(wire)
    join = m.JoinGroupRequest
    requests = [
        (ApiKey.FETCH, 12, fetch_request(topic, max_wait=300)),
        (ApiKey.PRODUCE, 9, produce_request({(topic, 0): batch(b"a")}, acks=-1)),
        (ApiKey.METADATA, 9, m.MetadataRequest(topics=[])),
        (ApiKey.PRODUCE, 9, produce_request({(topic, 0): batch(b"b")}, acks=-1)),
        (ApiKey.PRODUCE, 9, produce_request({("no-such-topic", 0): batch(b"c")}, acks=1)),
        (
            ApiKey.JOIN_GROUP,
            1,
            join(
                group_id=f"trap-5-{topic}",
                session_timeout=6_000,
                rebalance_timeout=6_000,
                member_id="",
                protocol_type="consumer",
                protocols=[join.JoinGroupRequestProtocol(name="range", metadata=b"")],
            ),
        ),
        (ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()),
        (ApiKey.FETCH, 12, fetch_request(topic, 2, max_wait=200)),
        (ApiKey.METADATA, 9, m.MetadataRequest(topics=[])),
    ]
    for number, (key, version, message) in enumerate(requests):
        wire.request(key, version, message, correlation_id=number)
    assert [wire.answer(key, version)[0] for key, version, _ in requests] == list(range(len(requests)))


def test_acks_0_is_not_answered_and_what_follows_it_is(wire: Wire) -> None:
    topic = create_topic(wire)
    wire.request(ApiKey.PRODUCE, 9, produce_request({(topic, 0): batch(b"a")}, acks=0), correlation_id=1)
    wire.request(ApiKey.METADATA, 9, m.MetadataRequest(topics=[]), correlation_id=2)
    assert wire.answer(ApiKey.METADATA, 9)[0] == 2
    wait_until(lambda: fetch(wire, topic).high_watermark == 1, "the record is there")


def test_acks_0_that_fails_ends_the_connection(wire: Wire) -> None:
    wire.request(ApiKey.PRODUCE, 9, produce_request({("no-such-topic", 0): batch(b"a")}, acks=0))
    assert wire.closed_by_broker()


def test_with_an_answer_the_same_failure_does_not(wire: Wire) -> None:
    assert produce(wire, "no-such-topic", batch(b"a"), acks=1).error_code == 3
    assert wire.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()).error_code == 0
