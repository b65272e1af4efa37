"""The follower's half of Fetch against the leader's half and against the compiled codec."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol import codec
from broker.protocol.api import ApiKey
from broker.protocol.fetch import FetchPartition, FetchPartitionResult, decode_fetch, encode_fetch_response
from broker.protocol.header import parse_request_header
from broker.protocol.malformed import MalformedMessage
from broker.protocol.replica_fetch import (
    VERSION,
    FollowerAnswer,
    FollowerRequests,
    FollowerResult,
    decode_follower_answer,
    pack_position,
)

TOPIC_A, TOPIC_B = bytes(range(16)), bytes(range(1, 17))


def frame_of(requests: FollowerRequests, **changes: object) -> tuple[int, bytes]:
    arguments = {
        "max_wait_ms": 500,
        "min_bytes": 1,
        "max_bytes": 10_000_000,
        "session_id": 7,
        "session_epoch": 3,
        "positions": {},
        "forgotten": {},
    }
    return requests.frame(**(arguments | changes))  # type: ignore[arg-type]


def test_a_leader_reads_what_a_follower_asks() -> None:
    requests = FollowerRequests(2, 41, "broker-2")
    positions = {TOPIC_A: [pack_position(0, 5, 100, 4, 10, 1 << 20), pack_position(3, 6, 0, -1, 0, 99)]}
    correlation_id, frame = frame_of(requests, positions=positions, forgotten={TOPIC_B: [1, 2]})

    assert struct.unpack_from(">i", frame)[0] == len(frame) - 4
    key, version, correlation, client_id, at = parse_request_header(memoryview(frame)[4:])
    assert (key, version, correlation, client_id) == (ApiKey.FETCH, VERSION, correlation_id, "broker-2")
    fetch = decode_fetch(version, memoryview(frame)[4 + at :])
    assert fetch.topics == [
        (None, TOPIC_A, [FetchPartition(0, 5, 100, 4, 10, 1 << 20), FetchPartition(3, 6, 0, -1, 0, 99)])
    ]
    assert fetch.forgotten == [(None, TOPIC_B, [1, 2])]
    assert (fetch.replica_id, fetch.replica_epoch) == (2, 41)
    assert (fetch.session_id, fetch.session_epoch, fetch.isolation_level) == (7, 3, 0)
    assert (fetch.max_wait_ms, fetch.min_bytes, fetch.max_bytes) == (500, 1, 10_000_000)


def test_the_compiled_codec_reads_it_too() -> None:
    _, frame = frame_of(FollowerRequests(2, 41, "broker-2"), positions={TOPIC_A: [pack_position(0, 5, 100, 4, 10, 1)]})
    _, _, _, _, at = parse_request_header(memoryview(frame)[4:])
    request = codec.decode_request(ApiKey.FETCH, VERSION, memoryview(frame)[4 + at :])
    assert (request.replica_state.replica_id, request.replica_state.replica_epoch) == (2, 41)
    assert request.topics[0].partitions[0].fetch_offset == 100


def test_each_request_has_its_own_correlation_id() -> None:
    requests = FollowerRequests(2, 41, "broker-2")
    assert [frame_of(requests)[0] for _ in range(3)] == [1, 2, 3]


results = st.builds(
    FetchPartitionResult,
    partition=st.integers(0, 2**31 - 1),
    error_code=st.integers(-1, 120),
    high_watermark=st.integers(-1, 2**62),
    last_stable_offset=st.integers(-1, 2**62),
    log_start_offset=st.integers(-1, 2**62),
    aborted_transactions=st.none() | st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=200),
    records=st.lists(st.binary(min_size=1, max_size=300), max_size=3),
    preferred_read_replica=st.integers(-1, 5),
    diverging_epoch=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 99)),
    current_leader=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 99)),
)


@given(
    topics=st.lists(
        st.tuples(st.just(None), st.binary(min_size=16, max_size=16), st.lists(results, max_size=4)), max_size=4
    ),
    error_code=st.integers(0, 120),
    session_id=st.integers(0, 2**31 - 1),
    endpoints=st.booleans(),
)
def test_a_follower_reads_what_a_leader_answers(
    topics: list[tuple[None, bytes, list[FetchPartitionResult]]], error_code: int, session_id: int, endpoints: bool
) -> None:
    hints = ((1, "host", 9092, None),) if endpoints else ()
    frame = b"".join(encode_fetch_response(VERSION, 77, 12, error_code, session_id, topics, hints))
    assert decode_follower_answer(memoryview(frame)[4:]) == FollowerAnswer(
        77,
        12,
        error_code,
        session_id,
        [
            FollowerResult(
                topic_id,
                result.partition,
                result.error_code,
                result.high_watermark,
                result.log_start_offset,
                result.diverging_epoch,
                memoryview(b"".join(result.records)) if result.records else None,
            )
            for _, topic_id, partitions in topics
            for result in partitions
        ],
    )


def whole_answer() -> bytes:
    result = FetchPartitionResult(3, 0, 10, 10, 0, None, [b"records" * 40], diverging_epoch=(1, 2))
    return b"".join(encode_fetch_response(VERSION, 1, 0, 0, 9, [(None, TOPIC_A, [result])]))[4:]


@pytest.mark.parametrize("missing", range(1, 60))
def test_an_answer_that_is_cut_off_is_malformed(missing: int) -> None:
    frame = whole_answer()
    with pytest.raises(MalformedMessage):
        decode_follower_answer(memoryview(frame[:-missing]))


def test_bytes_behind_the_answer_are_malformed() -> None:
    with pytest.raises(MalformedMessage):
        decode_follower_answer(memoryview(whole_answer() + b"\x00"))


@given(noise=st.binary(max_size=200))
def test_noise_never_does_more_than_to_be_malformed(noise: bytes) -> None:
    try:
        decode_follower_answer(memoryview(noise))
    except MalformedMessage:
        pass
