"""The hand-written Produce codec says what the compiled one says, for every version."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.header import response_header
from broker.protocol.malformed import MalformedMessage
from broker.protocol.produce import TOPIC_IDS_FROM, decode_produce, encode_produce_response
from tests.protocol.oracle import served_versions
from tests.protocol.strategies import messages

VERSIONS = served_versions("produce")
TOPIC_ID = bytes(range(16))
int16, int32, int64 = (st.integers(-(2**bits), 2**bits - 1) for bits in (15, 31, 63))
names = st.text(max_size=5) | st.just("n" * 249)
results = st.tuples(
    int32,
    int16,
    int64,
    int64,
    int64,
    st.just([]) | st.lists(st.tuples(int32, st.none() | names), max_size=3),
    st.none() | names,
)
topic_results = st.lists(
    st.tuples(names, st.binary(min_size=16, max_size=16), st.lists(results, max_size=3)), max_size=3
)


def in_plain_terms(version: int, body: bytes) -> tuple[Any, ...]:
    """What the compiled codec reads, in the shape of ``ProduceRequest``."""
    message = codec.decode_request(ApiKey.PRODUCE, version, body)
    topics = [
        (
            topic.name if version < TOPIC_IDS_FROM else None,
            topic.topic_id if version >= TOPIC_IDS_FROM else None,
            [(partition.index, partition.records) for partition in topic.partition_data],
        )
        for topic in message.topic_data
    ]
    return message.transactional_id, message.acks, message.timeout, topics


def expected_frame(version: int, correlation_id: int, topics: Any, throttle_ms: int) -> bytes:
    cls = m.ProduceResponse
    message = cls(
        responses=[
            cls.TopicProduceResponse(
                name=name,
                topic_id=topic_id,
                partition_responses=[
                    cls.PartitionProduceResponse(
                        index=index,
                        error_code=code,
                        base_offset=base,
                        log_append_time=append_time,
                        log_start_offset=start,
                        record_errors=[
                            cls.BatchIndexAndErrorMessage(batch_index=at, batch_index_error_message=text)
                            for at, text in errors
                        ],
                        error_message=text,
                    )
                    for index, code, base, append_time, start, errors, text in partitions
                ],
            )
            for name, topic_id, partitions in topics
        ],
        throttle_time=throttle_ms,
    )
    rest = response_header(ApiKey.PRODUCE, version, correlation_id) + codec.encode_response(
        ApiKey.PRODUCE, version, message
    )
    return struct.pack(">i", len(rest)) + rest


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25)
@given(data=st.data())
def test_requests_are_read_as_by_the_compiled_codec(version: int, data: st.DataObject) -> None:
    body = codec.encode_request(ApiKey.PRODUCE, version, data.draw(messages("produce", "request", version)))
    assert tuple(decode_produce(version, memoryview(body))) == in_plain_terms(version, body)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25)
@given(topics=topic_results, correlation_id=int32, throttle_ms=int32)
def test_responses_equal_those_of_the_compiled_codec(
    version: int, topics: Any, correlation_id: int, throttle_ms: int
) -> None:
    frame = encode_produce_response(version, correlation_id, topics, throttle_ms)
    assert frame == expected_frame(version, correlation_id, topics, throttle_ms)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["t", "n" * 126, "n" * 127, "n" * 249, "ü" * 63])
def test_the_short_path_for_one_partition_at_its_edges(version: int, name: str) -> None:
    topics = [(name, TOPIC_ID, [(3, 0, 2**40, -1, 5, [], None)])]
    assert encode_produce_response(version, 7, topics, 9) == expected_frame(version, 7, topics, 9)


@pytest.mark.parametrize("version", VERSIONS)
def test_records_are_slices_of_the_body(version: int) -> None:
    body = memoryview(bytearray(one_batch(version, b"records")))
    ((_, _, ((_, records),)),) = decode_produce(version, body).topics
    assert isinstance(records, memoryview)
    assert records.obj is body.obj
    assert not records.readonly


@pytest.mark.parametrize("version", VERSIONS)
def test_null_records_and_a_transactional_id(version: int) -> None:
    message = request(None)
    message.transactional_id = "tx"
    decoded = decode_produce(version, memoryview(codec.encode_request(ApiKey.PRODUCE, version, message)))
    assert decoded.transactional_id == "tx"
    assert decoded.topics[0][2] == [(1, None)]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_body_cut_anywhere_is_malformed(version: int) -> None:
    body = one_batch(version, b"x" * 200)
    for end in range(len(body)):
        with pytest.raises(MalformedMessage):
            decode_produce(version, memoryview(body[:end]))


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_behind_a_body_are_ignored(version: int) -> None:
    body = one_batch(version, b"x" * 200)
    assert decode_produce(version, memoryview(body + b"\x00\x07")) == decode_produce(version, memoryview(body))


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=50)
@given(data=st.data())
def test_damaged_bodies_are_read_as_by_the_compiled_codec_or_malformed(version: int, data: st.DataObject) -> None:
    body = bytearray(one_batch(version, b"abcdefgh"))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    try:
        expected = in_plain_terms(version, bytes(body))
    except MalformedMessage:
        with pytest.raises(MalformedMessage):
            decode_produce(version, memoryview(body))
    else:
        assert tuple(decode_produce(version, memoryview(body))) == expected


@given(st.sampled_from(VERSIONS), st.binary(max_size=60))
def test_random_bytes_are_malformed_and_nothing_else(version: int, body: bytes) -> None:
    try:
        decode_produce(version, memoryview(body))
    except MalformedMessage:
        return
    codec.decode_request(ApiKey.PRODUCE, version, body)


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (7, b"\xff\xff" + struct.pack(">hii", -1, 1000, 2**31 - 1)),
        (7, b"\xff\xff" + struct.pack(">hii", -1, 1000, -2)),
        (7, b"\xff\xff" + struct.pack(">hiih1si", -1, 1000, 1, 1, b"t", 2**31 - 1)),
        (9, b"\x00" + struct.pack(">hi", -1, 1000) + b"\xff\xff\xff\xff\x0f"),
        (9, b"\x00" + struct.pack(">hi", -1, 1000) + b"\x02\x02t\xff\xff\xff\xff\x0f"),
        (9, b"\x00" + struct.pack(">hi", -1, 1000) + b"\x00"),
    ],
)
def test_absurd_counts_are_refused(version: int, body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_produce(version, memoryview(body))


def request(records: bytes | None) -> Any:
    cls = m.ProduceRequest
    partition = cls.PartitionProduceData(index=1, records=records)
    topic = cls.TopicProduceData(name="topic", topic_id=TOPIC_ID, partition_data=[partition])
    return cls(acks=-1, timeout=1000, topic_data=[topic])


def one_batch(version: int, records: bytes) -> bytes:
    return codec.encode_request(ApiKey.PRODUCE, version, request(records))


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 10])
def test_leaders_and_their_endpoints_are_written_as_by_the_compiled_codec(version: int) -> None:
    topics = [("t", TOPIC_ID, [(0, 6, -1, -1, -1, (), None), (1, 0, 5, -1, 0, (), None)])]
    expected = codec.decode_response(ApiKey.PRODUCE, version, expected_frame(version, 1, topics, 0)[9:])
    expected.responses[0].partition_responses[0].current_leader = m.ProduceResponse.LeaderIdAndEpoch(
        leader_id=2, leader_epoch=7
    )
    node = m.ProduceResponse.NodeEndpoint
    expected.node_endpoints = [
        node(node_id=2, host="h" * 200, port=9092, rack=None),
        node(node_id=3, host="b", port=1, rack="r"),
    ]
    leaders = {(TOPIC_ID if version >= TOPIC_IDS_FROM else "t", 0): (2, 7)}
    endpoints = [(2, "h" * 200, 9092, None), (3, "b", 1, "r")]
    frame = encode_produce_response(version, 1, topics, 0, leaders, endpoints)
    assert codec.decode_response(ApiKey.PRODUCE, version, frame[9:]) == expected
    assert struct.unpack(">i", frame[:4])[0] == len(frame) - 4
