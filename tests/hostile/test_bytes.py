"""Bytes that are no request: the connection is closed, or the right error comes; the process does not care."""

from __future__ import annotations

import random
import struct
import time

import pytest

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.registry import SERVED
from tests.support.wire import Wire, raw_frame, request_frame

pytestmark = pytest.mark.usefixtures("survives")

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(190)
HTTP = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize("data", [TLS_HELLO, HTTP, b"SSH-2.0-OpenSSH_9.2\r\n", b"\xff" * 64], ids=repr)
def test_another_protocol_is_closed(wire, data) -> None:
    wire.send(data)
    assert wire.closed_by_broker()


@pytest.mark.parametrize("length", [-1, -(2**31), 0, 3, 2**31 - 1, 100 * 1024 * 1024 + 1])
def test_an_impossible_length_is_closed(wire, length) -> None:
    wire.send(struct.pack(">i", length) + b"\0" * 16)
    assert wire.closed_by_broker()


def test_random_bytes_are_closed(victim) -> None:
    dice = random.Random(1)
    for _ in range(200):
        with Wire(victim.port) as wire:
            wire.send(raw_frame(dice.randbytes(dice.randrange(8, 300))))
            wire.socket.shutdown(1)
            while wire.socket.recv(65_536):
                pass


@pytest.mark.parametrize("spec", [spec for spec in SERVED.values() if not spec.internal], ids=lambda spec: spec.name)
def test_random_bodies_of_every_api_and_version_end_or_are_answered(victim, spec) -> None:
    dice = random.Random(spec.key)
    for version in range(spec.min_version, spec.max_version + 1):
        for size in (0, 1, 7, 40, 400):
            with Wire(victim.port) as wire:
                header = struct.pack(">hhih", spec.key, version, 9, -1)
                tags = b"\0" if version >= spec.flexible_from else b""
                wire.send(raw_frame(header + tags + dice.randbytes(size)))
                wire.socket.shutdown(1)
                while wire.socket.recv(65_536):
                    pass


@pytest.mark.parametrize("api_key", [-1, 4, 17, 52, 68, 999, 10_001, 32_767])
def test_an_api_that_is_not_served_is_closed(wire, api_key) -> None:
    wire.send(raw_frame(struct.pack(">hhih", api_key, 0, 1, -1) + bytes(8)))
    assert wire.closed_by_broker()


@pytest.mark.parametrize(("api_key", "version"), [(0, 0), (0, 2), (0, 14), (1, 3), (1, 19), (3, 14), (19, 1)])
def test_a_version_that_is_not_served_is_closed(wire, api_key, version) -> None:
    wire.send(raw_frame(struct.pack(">hhih", api_key, version, 1, -1) + bytes(8)))
    assert wire.closed_by_broker()


@pytest.mark.parametrize("version", [5, 42, 32_767])
def test_an_unknown_api_versions_version_is_told_ours(wire, version) -> None:
    wire.send(raw_frame(struct.pack(">hhih", ApiKey.API_VERSIONS, version, 77, -1) + b"\xff" * 20))
    correlation_id, answer = wire.answer(ApiKey.API_VERSIONS, 0)
    assert correlation_id == 77
    assert answer.error_code == 35
    assert [(api.api_key, api.min_version, api.max_version) for api in answer.api_keys] == [(18, 0, 4)]
    assert wire.call(ApiKey.API_VERSIONS, 4, software("ok")).error_code == 0, "the connection stays usable"


@pytest.mark.parametrize("name", ["", "-x", "x y", "ü", "x-"])
def test_client_software_names_are_validated(wire, name) -> None:
    assert wire.call(ApiKey.API_VERSIONS, 3, software(name)).error_code == 42


def software(name: str):
    return m.ApiVersionsRequest(client_software_name=name, client_software_version="1.0")


@pytest.mark.parametrize("count", [-2, 2**31 - 1, 100_000, -(2**31)])
def test_an_absurd_array_count_is_closed_and_costs_nothing(wire, count) -> None:
    body = struct.pack(">hhih", ApiKey.METADATA, 1, 1, -1) + struct.pack(">i", count)
    wire.send(raw_frame(body))
    assert wire.closed_by_broker()


def test_an_absurd_compact_count_is_closed(wire) -> None:
    body = struct.pack(">hhihB", ApiKey.METADATA, 12, 1, -1, 0) + b"\xff\xff\xff\xff\x0f"
    wire.send(raw_frame(body))
    assert wire.closed_by_broker()


def test_every_truncation_of_a_request_is_closed(victim) -> None:
    metadata = m.MetadataRequest(topics=[m.MetadataRequest.MetadataRequestTopic(name="abc")])
    whole = request_frame(ApiKey.METADATA, 9, metadata)[4:]
    for size in range(8, len(whole)):
        with Wire(victim.port) as wire:
            wire.send(raw_frame(whole[:size]))
            assert wire.closed_by_broker(), size


def test_bytes_behind_a_request_are_ignored_as_kafka_does(wire) -> None:
    whole = request_frame(ApiKey.METADATA, 9, m.MetadataRequest(topics=[]))[4:]
    wire.send(raw_frame(whole + b"\0"))
    assert wire.answer(ApiKey.METADATA, 9)[0] == 1


def test_a_request_that_comes_one_byte_at_a_time_is_answered(wire) -> None:
    for byte in request_frame(ApiKey.API_VERSIONS, 4, software("slow")):
        wire.send(bytes([byte]))
        time.sleep(0.001)  # pace, not a wait: each byte is to be a packet of its own
    assert wire.answer(ApiKey.API_VERSIONS, 4)[1].error_code == 0


def test_a_malformed_request_is_closed_after_the_answers_before_it(wire) -> None:
    good = request_frame(ApiKey.API_VERSIONS, 4, software("good"), correlation_id=5)
    wire.send(good + raw_frame(struct.pack(">hhih", ApiKey.METADATA, 1, 6, -1) + b"\x7f\xff\xff\xff"))
    assert wire.answer(ApiKey.API_VERSIONS, 4)[0] == 5
    assert wire.closed_by_broker()


def test_private_apis_do_not_exist_on_the_client_listener(wire) -> None:
    wire.send(raw_frame(struct.pack(">hhih", ApiKey.TELEMETRY, 0, 1, -1) + b"\x80"))
    assert wire.closed_by_broker()
