"""The hand-written Fetch codec says what the compiled one says, for every version."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.fetch import (
    FLEXIBLE_FROM,
    REPLICA_STATE_FROM,
    TOPIC_IDS_FROM,
    FetchPartitionResult,
    decode_fetch,
    encode_fetch_response,
)
from broker.protocol.header import response_header
from broker.protocol.malformed import MalformedMessage
from tests.protocol.oracle import served_versions
from tests.protocol.strategies import messages

VERSIONS = served_versions("fetch")
TOPIC_ID = bytes(range(16))
int16, int32, int64 = (st.integers(-(2**bits), 2**bits - 1) for bits in (15, 31, 63))
PARTITION_FIELDS = (
    "partition",
    "current_leader_epoch",
    "fetch_offset",
    "last_fetched_epoch",
    "log_start_offset",
    "partition_max_bytes",
)
names = st.text(max_size=5) | st.just("n" * 249)
results = st.builds(
    FetchPartitionResult,
    partition=int32,
    error_code=int16,
    high_watermark=int64,
    last_stable_offset=int64,
    log_start_offset=int64,
    aborted_transactions=st.none() | st.lists(st.tuples(int64, int64), max_size=3),
    records=st.lists(st.binary(max_size=5) | st.just(b"r" * 20_000), max_size=3),
    preferred_read_replica=int32,
    diverging_epoch=st.none() | st.tuples(int32, int64),
    current_leader=st.none() | st.tuples(int32, int32),
)
topic_results = st.lists(
    st.tuples(names, st.binary(min_size=16, max_size=16), st.lists(results, max_size=3)), max_size=3
)


def in_plain_terms(version: int, body: bytes) -> tuple[Any, ...]:
    """What the compiled codec reads, in the shape of ``FetchRequest``."""
    message = codec.decode_request(ApiKey.FETCH, version, body)

    def topic_key(topic: Any) -> tuple[str | None, bytes | None]:
        return (None, topic.topic_id) if version >= TOPIC_IDS_FROM else (topic.topic, None)

    topics = [
        (
            *topic_key(topic),
            [tuple(getattr(partition, name) for name in PARTITION_FIELDS) for partition in topic.partitions],
        )
        for topic in message.topics
    ]
    forgotten = [(*topic_key(topic), topic.partitions) for topic in message.forgotten_topics_data]
    state = message.replica_state
    return (
        state.replica_id if version >= REPLICA_STATE_FROM else message.replica_id,
        message.max_wait,
        message.min_bytes,
        message.max_bytes,
        message.isolation_level,
        message.session_id,
        message.session_epoch,
        topics,
        forgotten,
        message.rack_id,
        message.cluster_id,
        state.replica_epoch,
    )


def expected_frame(
    version: int, correlation_id: int, throttle_ms: int, error_code: int, session_id: int, topics: Any
) -> bytes:
    cls = m.FetchResponse
    message = cls(
        throttle_time=throttle_ms,
        error_code=error_code,
        session_id=session_id,
        responses=[
            cls.FetchableTopicResponse(
                topic=name, topic_id=topic_id, partitions=[partition_data(result) for result in partitions]
            )
            for name, topic_id, partitions in topics
        ],
    )
    rest = response_header(ApiKey.FETCH, version, correlation_id) + codec.encode_response(
        ApiKey.FETCH, version, message
    )
    return struct.pack(">i", len(rest)) + rest


def partition_data(result: FetchPartitionResult) -> Any:
    cls = m.FetchResponse
    data = cls.PartitionData(
        partition_index=result.partition,
        error_code=result.error_code,
        high_watermark=result.high_watermark,
        last_stable_offset=result.last_stable_offset,
        log_start_offset=result.log_start_offset,
        aborted_transactions=result.aborted_transactions
        and [cls.AbortedTransaction(producer_id=pid, first_offset=first) for pid, first in result.aborted_transactions],
        preferred_read_replica=result.preferred_read_replica,
        records=b"".join(result.records),
    )
    if result.diverging_epoch and result.diverging_epoch != (-1, -1):
        data.diverging_epoch = cls.EpochEndOffset(epoch=result.diverging_epoch[0], end_offset=result.diverging_epoch[1])
    if result.current_leader and result.current_leader != (-1, -1):
        data.current_leader = cls.LeaderIdAndEpoch(
            leader_id=result.current_leader[0], leader_epoch=result.current_leader[1]
        )
    return data


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25)
@given(data=st.data())
def test_requests_are_read_as_by_the_compiled_codec(version: int, data: st.DataObject) -> None:
    body = codec.encode_request(ApiKey.FETCH, version, data.draw(messages("fetch", "request", version)))
    assert tuple(decode_fetch(version, memoryview(body))) == in_plain_terms(version, body)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25)
@given(head=st.tuples(int32, int32, int16, int32), topics=topic_results)
def test_responses_equal_those_of_the_compiled_codec(version: int, head: Any, topics: Any) -> None:
    pieces = encode_fetch_response(version, *head, topics)
    assert b"".join(pieces) == expected_frame(version, *head, topics)


def test_records_pass_through_as_the_buffers_they_were() -> None:
    first, second = memoryview(bytearray(100_000)), memoryview(bytearray(50))
    results = [
        FetchPartitionResult(0, 0, 10, 10, 0, None, [first, second]),
        FetchPartitionResult(1, 0, 10, 10, 0, None, []),
    ]
    for version in VERSIONS:
        pieces = encode_fetch_response(version, 1, 0, 0, 0, [("t", TOPIC_ID, results)])
        assert pieces[1] is first
        assert pieces[2] is second
        assert len(pieces) == 4


def test_no_topics_is_one_piece() -> None:
    for version in VERSIONS:
        pieces = encode_fetch_response(version, 1, 5, 0, 9, [])
        assert len(pieces) == 1
        assert pieces[0] == expected_frame(version, 1, 5, 0, 9, [])


def test_aborted_transactions_are_null_or_a_list() -> None:
    for version in VERSIONS:
        for aborted in (None, [], [(7, 100), (8, 200)]):
            result = FetchPartitionResult(0, 0, 10, 10, 0, aborted, [b"x"])
            frame = b"".join(encode_fetch_response(version, 1, 0, 0, 0, [("t", TOPIC_ID, [result])]))
            head = len(response_header(ApiKey.FETCH, version, 1)) + 4
            decoded = codec.decode_response(ApiKey.FETCH, version, frame[head:]).responses[0].partitions[0]
            seen = decoded.aborted_transactions
            assert (seen and [(item.producer_id, item.first_offset) for item in seen]) == aborted
            assert decoded.records == b"x"


def test_many_partitions_without_records_are_framed_in_linear_time() -> None:
    results = [FetchPartitionResult(index, 0, 0, 0, 0, None, []) for index in range(20_000)]
    (piece,) = encode_fetch_response(12, 1, 0, 0, 0, [("t", None, results)])
    assert len(piece) > 20_000 * 30


@pytest.mark.parametrize("version", VERSIONS)
def test_a_body_cut_anywhere_is_malformed(version: int) -> None:
    body = full_request(version)
    decode_fetch(version, memoryview(body))
    for end in range(len(body)):
        with pytest.raises(MalformedMessage):
            decode_fetch(version, memoryview(body[:end]))


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_behind_a_body_are_ignored(version: int) -> None:
    body = full_request(version)
    assert decode_fetch(version, memoryview(body + b"\x00\x07")) == decode_fetch(version, memoryview(body))


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=50)
@given(data=st.data())
def test_damaged_bodies_are_read_as_by_the_compiled_codec_or_malformed(version: int, data: st.DataObject) -> None:
    body = bytearray(full_request(version))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.sampled_from([0, 1, 2, 127, 128, 255]))
    try:
        expected = in_plain_terms(version, bytes(body))
    except MalformedMessage:
        # Tagged fields of partitions (v17+) are skipped by hand and read by the compiled codec: it may refuse more.
        with suppress(MalformedMessage) if version >= 17 else pytest.raises(MalformedMessage):
            decode_fetch(version, memoryview(body))
    else:
        assert tuple(decode_fetch(version, memoryview(body))) == expected


@given(st.sampled_from(VERSIONS), st.binary(max_size=80))
def test_random_bytes_are_malformed_and_nothing_else(version: int, body: bytes) -> None:
    try:
        decode_fetch(version, memoryview(body))
    except MalformedMessage:
        return
    codec.decode_request(ApiKey.FETCH, version, body)


def test_unknown_tags_are_skipped_everywhere() -> None:
    body = codec.encode_request(ApiKey.FETCH, 12, m.FetchRequest())
    assert body[-1] == 0
    tagged = body[:-1] + b"\x02\x00\x03\x02c\x09\x02ab"
    with pytest.raises(MalformedMessage):  # the cluster id is one byte shorter than its field claims
        decode_fetch(12, memoryview(tagged))
    tagged = body[:-1] + b"\x02\x00\x02\x02c\x09\x02ab"
    assert decode_fetch(12, memoryview(tagged)).cluster_id == "c"


def full_request(version: int) -> bytes:
    cls = m.FetchRequest
    message = cls(
        cluster_id="c" if version >= FLEXIBLE_FROM else None,
        replica_state=cls.ReplicaState(replica_id=3, replica_epoch=4),
        max_wait=500,
        min_bytes=1,
        session_id=5,
        session_epoch=6,
        topics=[cls.FetchTopic(topic="topic", topic_id=TOPIC_ID, partitions=[cls.FetchPartition(partition=1)])],
        forgotten_topics_data=[cls.ForgottenTopic(topic="gone", topic_id=TOPIC_ID, partitions=[1, 2])],
        rack_id="rack",
    )
    return codec.encode_request(ApiKey.FETCH, version, message)


@pytest.mark.parametrize("version", [version for version in VERSIONS if version >= 16])
def test_endpoints_of_leaders_are_written_as_by_the_compiled_codec(version: int) -> None:
    node = m.FetchResponse.NodeEndpoint
    expected = m.FetchResponse(
        session_id=5, node_endpoints=[node(node_id=2, host="h", port=9092, rack="r"), node(node_id=3, host="b", port=1)]
    )
    frame = b"".join(encode_fetch_response(version, 1, 0, 0, 5, (), [(2, "h", 9092, "r"), (3, "b", 1, None)]))
    assert codec.decode_response(ApiKey.FETCH, version, frame[9:]) == expected
    assert struct.unpack(">i", frame[:4])[0] == len(frame) - 4
