"""Trap 1: ApiVersions is how a client and a broker of different ages find each other, so it must always get through.

Its response header never has tags, also where the body is flexible. A version we do not know is answered in version 0 with
UNSUPPORTED_VERSION and our own range of this one API; its body, which may be of a later time, is not looked at. The names a
client gives itself are checked."""

from __future__ import annotations

import struct

import pytest

from broker.errors import ErrorCode
from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.registry import SERVED
from tests.support.wire import Wire, raw_frame

NEWEST = SERVED[ApiKey.API_VERSIONS].max_version


def header(version: int, correlation_id: int) -> bytes:
    return struct.pack(">hhi", ApiKey.API_VERSIONS, version, correlation_id)


@pytest.mark.parametrize("version", range(NEWEST + 1))
def test_the_response_header_has_no_tags_in_any_version(wire: Wire, version: int) -> None:
    request = m.ApiVersionsRequest(client_software_name="trap", client_software_version="1.0")
    wire.request(ApiKey.API_VERSIONS, version, request, correlation_id=99)
    frame = wire.frame()
    assert struct.unpack_from(">ih", frame) == (99, 0), "the error code follows the correlation id at once"
    answer = codec.decode_response(ApiKey.API_VERSIONS, version, frame[4:])
    assert {api.api_key for api in answer.api_keys} == {spec.key for spec in SERVED.values() if not spec.internal}


@pytest.mark.parametrize("body", [b"", b"\xff" * 50, b"\x00\x04trap\x00"], ids=["none", "noise", "later"])
@pytest.mark.parametrize("version", [NEWEST + 1, 99, 32_767])
def test_an_unknown_version_is_answered_in_version_0_and_the_connection_goes_on(
    wire: Wire, version: int, body: bytes
) -> None:
    wire.send(raw_frame(header(version, 7) + body))
    frame = wire.frame()
    assert struct.unpack_from(">ih", frame) == (7, ErrorCode.UNSUPPORTED_VERSION)
    answer = codec.decode_response(ApiKey.API_VERSIONS, 0, frame[4:])
    assert [(api.api_key, api.min_version, api.max_version) for api in answer.api_keys] == [
        (ApiKey.API_VERSIONS, 0, NEWEST)
    ]
    assert wire.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()).error_code == 0


@pytest.mark.parametrize("name", ["", "-librdkafka", "lib rdkafka", "ключ", "a" * 10 + "\x00"])
def test_a_name_no_client_should_have_is_an_invalid_request(wire: Wire, name: str) -> None:
    request = m.ApiVersionsRequest(client_software_name=name, client_software_version="1.0")
    assert wire.call(ApiKey.API_VERSIONS, 3, request).error_code == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("name", ["librdkafka", "apache-kafka-java", "a.b", "x"])
def test_a_proper_name_is_taken(wire: Wire, name: str) -> None:
    request = m.ApiVersionsRequest(client_software_name=name, client_software_version="v2.10.0-RC1")
    assert wire.call(ApiKey.API_VERSIONS, 3, request).error_code == 0


def test_produce_is_advertised_from_0_or_old_librdkafka_stops_compressing(wire: Wire) -> None:
    answer = wire.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest())
    assert next(api.min_version for api in answer.api_keys if api.api_key == ApiKey.PRODUCE) == 0
