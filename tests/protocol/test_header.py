"""Which header belongs to which version, and what a broken one does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kio.serial import entity_reader

from broker.protocol.api import PRIVATE_API_KEY_MIN, ApiKey
from broker.protocol.header import parse_request_header, request_header, response_header, skip_response_header
from broker.protocol.malformed import MalformedMessage
from broker.protocol.registry import SERVED, kio_name
from tests.protocol.oracle import kio_class, kio_read, kio_write, served_versions

PAIRS = [
    (spec.key, version)
    for spec in SERVED.values()
    if spec.key < PRIVATE_API_KEY_MIN
    for version in served_versions(kio_name(spec.key))
]


@pytest.mark.parametrize(("api_key", "version"), PAIRS)
def test_headers_are_those_kio_names_for_the_version(api_key: int, version: int) -> None:
    request_cls = kio_class(kio_name(api_key), "request", version).__header_schema__  # type: ignore[attr-defined]
    response_cls = kio_class(kio_name(api_key), "response", version).__header_schema__  # type: ignore[attr-defined]
    expected = request_cls(request_api_key=api_key, request_api_version=version, correlation_id=7, client_id="me")
    assert request_header(api_key, version, 7, "me") == kio_write(expected)
    assert kio_read(response_cls, response_header(api_key, version, 7)).correlation_id == 7


@given(st.sampled_from(PAIRS), st.integers(-(2**31), 2**31 - 1), st.none() | st.text(max_size=20))
def test_what_is_written_is_read_back(pair: tuple[int, int], correlation_id: int, client_id: str | None) -> None:
    header = request_header(*pair, correlation_id, client_id)
    assert parse_request_header(memoryview(header + b"body")) == (*pair, correlation_id, client_id, len(header))
    header = response_header(*pair, correlation_id)
    assert skip_response_header(*pair, header + b"body") == (correlation_id, len(header))


@pytest.mark.parametrize("version", range(5))
def test_api_versions_always_answers_with_the_oldest_header(version: int) -> None:
    assert response_header(ApiKey.API_VERSIONS, version, 1) == b"\x00\x00\x00\x01"


@pytest.mark.parametrize("key", [ApiKey.OFFSET_DELETE, ApiKey.SASL_HANDSHAKE, ApiKey.TELEMETRY, 999])
def test_some_apis_are_never_flexible(key: int) -> None:
    assert request_header(key, 0, 1, None)[-2:] == b"\xff\xff"
    assert response_header(key, 0, 1) == b"\x00\x00\x00\x01"


def test_unknown_tags_of_a_header_are_skipped() -> None:
    header = request_header(ApiKey.METADATA, 12, 1, "c")
    tagged = header[:-1] + b"\x01\x09\x02ab"
    assert parse_request_header(memoryview(tagged))[-1] == len(tagged)
    assert skip_response_header(ApiKey.METADATA, 12, b"\x00\x00\x00\x01\x01\x09\x02ab") == (1, 9)


def test_an_unsupported_api_versions_request_is_still_recognised() -> None:
    header = request_header(ApiKey.API_VERSIONS, 99, 5, "new")
    assert parse_request_header(memoryview(header))[:4] == (ApiKey.API_VERSIONS, 99, 5, "new")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00\x03\x00\x00\x00\x00\x00",
        b"\x00\x03\x00\x00\x00\x00\x00\x01\x00\x05abc",
        b"\x00\x03\x00\x00\x00\x00\x00\x01\xff\xfe",
        b"\x00\x03\x00\x00\x00\x00\x00\x01\x00\x01\xff",
        b"\x00\x03\x00\x0c\x00\x00\x00\x01\xff\xff",
        b"\x00\x03\x00\x0c\x00\x00\x00\x01\xff\xff\x01\x00\x7f",
        b"\x00\x03\x00\x0c\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\x0f",
        b"\x00\x03\x00\x0c\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_a_broken_header_is_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_request_header(memoryview(frame))


@given(st.binary(max_size=40))
def test_random_bytes_have_a_header_or_are_malformed(frame: bytes) -> None:
    try:
        *_, body_at = parse_request_header(memoryview(frame))
    except MalformedMessage:
        return
    assert 10 <= body_at <= len(frame)


@pytest.mark.parametrize("frame", [b"", b"\x00\x00\x00", b"\x00\x00\x00\x01", b"\x00\x00\x00\x01\x02\x00\x00"])
def test_a_broken_response_header_is_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedMessage):
        skip_response_header(ApiKey.METADATA, 12, frame)


def test_kio_reads_our_request_header() -> None:
    cls = kio_class("metadata", "request", 12).__header_schema__  # type: ignore[attr-defined]
    header, size = entity_reader(cls)(request_header(ApiKey.METADATA, 12, 3, None), 0)
    assert (header.correlation_id, header.client_id, size) == (3, None, 11)
