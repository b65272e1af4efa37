"""The compiled codec against kio, message by message, and against hostile bytes."""

from __future__ import annotations

import dataclasses
import functools
import struct
import tracemalloc
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol import codec, schema
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.malformed import MalformedMessage
from broker.protocol.messages import message_class
from tests.protocol.oracle import SERVED_MESSAGES, kio_class, kio_read, kio_write, served_versions, to_kio
from tests.protocol.strategies import messages

FETCH, METADATA, API_VERSIONS = ApiKey.FETCH, ApiKey.METADATA, ApiKey.API_VERSIONS


def encode(api: str, direction: str, version: int, message: Any) -> bytes:
    call = codec.encode_request if direction == "request" else codec.encode_response
    return call(ApiKey[api.upper()], version, message)


def decode(api: str, direction: str, version: int, body: bytes) -> Any:
    call = codec.decode_request if direction == "request" else codec.decode_response
    return call(ApiKey[api.upper()], version, body)


@functools.cache
def special_kinds(api: str, direction: str, version: int) -> dict[str, str]:
    """kio's kinds by ``Struct.field``, found by walking its dataclasses."""
    kinds: dict[str, str] = {}
    module = __import__(f"kio.schema.{api}.v{version}.{direction}", fromlist=["*"])
    for cls in vars(module).values():
        if dataclasses.is_dataclass(cls) and isinstance(cls, type):
            for field in dataclasses.fields(cls):
                if "kafka_type" in field.metadata:
                    kind = field.metadata["kafka_type"]
                    if kind == "datetime_i64" and type(None) not in get_args(field.type):
                        kind = "datetime_i64 never null"
                    kinds[f"{cls.__name__}.{field.name}"] = kind
    return kinds


@pytest.mark.parametrize(("api", "direction"), SERVED_MESSAGES)
def test_bytes_equal_those_of_kio_and_kio_reads_them_back(api: str, direction: str) -> None:
    versions = served_versions(api)

    @settings(max_examples=5 * len(versions))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(versions))
        message = data.draw(messages(api, direction, version, special_kinds(api, direction, version)))
        expected = to_kio(message, kio_class(api, direction, version))
        encoded = encode(api, direction, version, message)
        assert encoded == kio_write(expected)
        assert kio_read(type(expected), encoded) == expected
        assert decode(api, direction, version, encoded) == message

    check()


@pytest.mark.parametrize(("api", "direction"), SERVED_MESSAGES)
def test_a_default_message_survives_every_version(api: str, direction: str) -> None:
    for version in served_versions(api):
        encoded = encode(api, direction, version, message_class(api, direction)())  # type: ignore[arg-type]
        again = decode(api, direction, version, encoded)
        assert encode(api, direction, version, again) == encoded


@pytest.mark.parametrize(("api", "direction"), SERVED_MESSAGES)
def test_a_body_cut_anywhere_is_malformed(api: str, direction: str) -> None:
    @settings(max_examples=6)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(served_versions(api)))
        whole = encode(api, direction, version, data.draw(messages(api, direction, version)))
        for end in range(len(whole)):
            with pytest.raises(MalformedMessage):
                decode(api, direction, version, whole[:end])
        if direction != "request":
            with pytest.raises(MalformedMessage):
                decode(api, direction, version, whole + b"\x00")

    check()


def test_what_librdkafka_leaves_behind_a_metadata_request_for_all_topics_is_ignored() -> None:
    request = codec.decode_request(3, 13, bytes.fromhex("00000000010000"))
    assert request.topics is None


@pytest.mark.parametrize(("api", "direction"), SERVED_MESSAGES)
def test_random_bytes_are_read_or_malformed_and_nothing_else(api: str, direction: str) -> None:
    @settings(max_examples=40)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(served_versions(api)))
        body = data.draw(st.binary(max_size=80) | mutated(api, direction, version))
        try:
            message = decode(api, direction, version, body)
        except MalformedMessage:
            return
        assert decode(api, direction, version, encode(api, direction, version, message)) == message

    check()


@st.composite
def mutated(draw: st.DrawFn, api: str, direction: str, version: int) -> bytes:
    """A valid body with a few bytes changed."""
    body = bytearray(encode(api, direction, version, draw(messages(api, direction, version))))
    if body:
        for _ in range(draw(st.integers(1, 4))):
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
    return bytes(body)


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (1, struct.pack(">i", 2**31 - 1)),
        (1, struct.pack(">i", -2)),
        (1, struct.pack(">ih", 1, -5)),
        (9, b"\xff\xff\xff\xff\x0f"),
        (9, b"\xff\xff\xff\xff\x7f"),
        (9, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        (9, b"\x02\xff\xff\xff\xff\x0f"),
    ],
)
def test_absurd_counts_and_lengths_are_refused_without_allocating(version: int, body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        codec.decode_request(METADATA, version, body)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage):
            codec.decode_request(METADATA, version, body)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_request_with_too_many_elements_is_refused_even_if_all_are_there() -> None:
    body = struct.pack(">i", 500_000) + b"\x00\x00" * 500_000
    with pytest.raises(MalformedMessage, match="500000 elements"):
        codec.decode_request(METADATA, 0, body)


def test_many_tagged_fields_that_are_not_there_are_refused_quickly() -> None:
    request = codec.encode_request(API_VERSIONS, 3, m.ApiVersionsRequest())
    with pytest.raises(MalformedMessage):
        codec.decode_request(API_VERSIONS, 3, request[:-1] + b"\xff\xff\xff\xff\x0f")


def test_unknown_tagged_fields_are_skipped() -> None:
    request = m.ApiVersionsRequest(client_software_name="lib", client_software_version="1")
    body = codec.encode_request(API_VERSIONS, 3, request)
    assert body[-1] == 0
    with_tags = body[:-1] + b"\x02" + b"\x05\x03abc" + b"\x80\x01\x00"
    assert codec.decode_request(API_VERSIONS, 3, with_tags) == request


def test_a_tagged_field_longer_than_its_content_is_malformed() -> None:
    cluster_id = m.FetchRequest(cluster_id="abc")
    body = codec.encode_request(FETCH, 12, cluster_id)
    assert body.endswith(b"\x01\x00\x04\x04abc")
    with pytest.raises(MalformedMessage):
        codec.decode_request(FETCH, 12, body[:-6] + b"\x00\x05\x04abcd")
    with pytest.raises(MalformedMessage):
        codec.decode_request(FETCH, 12, body[:-6] + b"\x00\x7f\x04abc")


def test_tagged_fields_at_their_default_are_not_written() -> None:
    response = m.FetchResponse(
        responses=[m.FetchResponse.FetchableTopicResponse(partitions=[m.FetchResponse.PartitionData()])]
    )
    plain = codec.encode_response(FETCH, 16, response)
    response.responses[0].partitions[0].diverging_epoch = m.FetchResponse.EpochEndOffset(epoch=3, end_offset=9)
    response.responses[0].partitions[0].current_leader = m.FetchResponse.LeaderIdAndEpoch(leader_id=1, leader_epoch=2)
    tagged = codec.encode_response(FETCH, 16, response)
    assert len(tagged) - len(plain) == 2 + 13 + 2 + 9
    assert codec.decode_response(FETCH, 16, tagged) == response


def test_golden_api_versions_request_of_librdkafka() -> None:
    body = bytes.fromhex("0b6c696272646b61666b6106322e332e3000")
    request = m.ApiVersionsRequest(client_software_name="librdkafka", client_software_version="2.3.0")
    assert codec.decode_request(API_VERSIONS, 3, body) == request
    assert codec.encode_request(API_VERSIONS, 3, request) == body


def test_golden_metadata_v1_response() -> None:
    response = m.MetadataResponse(
        brokers=[m.MetadataResponse.MetadataResponseBroker(node_id=1, host="h", port=9092)],
        controller_id=1,
        topics=[
            m.MetadataResponse.MetadataResponseTopic(
                name="t",
                partitions=[
                    m.MetadataResponse.MetadataResponsePartition(leader_id=1, replica_nodes=[1], isr_nodes=[1])
                ],
            )
        ],
    )
    assert codec.encode_response(METADATA, 1, response) == bytes.fromhex(
        "00000001" "00000001" "000168" "00002384" "ffff" "00000001"
        "00000001" "0000" "000174" "00" "00000001"
        "0000" "00000000" "00000001" "00000001" "00000001" "00000001" "00000001"
    )  # fmt: skip


def test_null_and_empty_arrays_stay_apart() -> None:
    for version in (1, 8, 9, 12):
        for topics in (None, []):
            body = codec.encode_request(METADATA, version, m.MetadataRequest(topics=topics))
            assert codec.decode_request(METADATA, version, body).topics == topics
    with pytest.raises(MalformedMessage, match="topics must not be null"):
        codec.decode_request(METADATA, 0, b"\xff\xff\xff\xff")


def test_a_null_struct_and_a_present_one() -> None:
    key = ApiKey.DESCRIBE_TOPIC_PARTITIONS
    cursor = m.DescribeTopicPartitionsRequest.Cursor(topic_name="t", partition_index=4)
    for expected in (None, cursor):
        body = codec.encode_request(key, 0, m.DescribeTopicPartitionsRequest(cursor=expected))
        assert codec.decode_request(key, 0, body).cursor == expected


def test_an_unknown_version_is_malformed_and_a_string_must_be_utf8() -> None:
    with pytest.raises(MalformedMessage, match="no version 99"):
        codec.decode_request(METADATA, 99, b"")
    with pytest.raises(MalformedMessage, match="UTF-8"):
        codec.decode_request(METADATA, 0, b"\x00\x00\x00\x01\x00\x01\xff")


def test_a_message_that_cannot_be_encoded_says_which() -> None:
    with pytest.raises((TypeError, AttributeError)) as caught:
        codec.encode_response(METADATA, 12, m.MetadataResponse(topics=None))
    assert caught.value.__notes__ == ["while encoding metadata response v12"]


def test_any_buffer_is_accepted() -> None:
    body = codec.encode_request(METADATA, 9, m.MetadataRequest(topics=None))
    assert codec.decode_request(METADATA, 9, memoryview(bytearray(body))) == codec.decode_request(METADATA, 9, body)


def test_consumer_protocol_messages() -> None:
    subscription = m.ConsumerProtocolSubscription(
        topics=["a", "b"],
        user_data=b"x",
        owned_partitions=[m.ConsumerProtocolSubscription.TopicPartition(topic="a", partitions=[1, 2])],
        generation_id=5,
        rack_id="r",
    )
    for version in schema.load("consumer_protocol_subscription", "data"):
        body = codec.encode_data(version, subscription)
        assert body == kio_write(to_kio(subscription, kio_class("consumer_protocol_subscription", "data", version)))
        assert codec.decode_data("ConsumerProtocolSubscription", version, body).topics == ["a", "b"]
