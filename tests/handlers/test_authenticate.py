"""The internal listener admits nobody who does not know the cluster secret, and nobody twice."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Iterator

import msgspec
import pytest

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.private import AuthenticateRequest, AuthenticateResponse, TelemetryRequest
from tests.support.wire import Wire, raw_frame


@pytest.fixture
def internal(broker_process) -> Iterator[Wire]:
    with Wire(broker_process.internal_port) as connection:
        yield connection


def send(wire: Wire, api_key: int, message: msgspec.Struct) -> None:
    wire.send(raw_frame(struct.pack(">hhih", api_key, 0, 1, -1) + msgspec.msgpack.encode(message)))


def challenge(wire: Wire) -> tuple[bytes, AuthenticateResponse]:
    nonce = secrets.token_bytes(32)
    send(wire, ApiKey.AUTHENTICATE, AuthenticateRequest(client_nonce=nonce))
    return nonce, msgspec.msgpack.decode(wire.frame()[4:], type=AuthenticateResponse)


def proof(secret: bytes, role: bytes, nonces: bytes) -> bytes:
    return hmac.new(secret, role + nonces, hashlib.sha256).digest()


def log_in(wire: Wire, secret: bytes) -> AuthenticateResponse:
    nonce, answer = challenge(wire)
    assert answer.proof == proof(secret, b"ottla server", nonce + answer.server_nonce)
    send(
        wire,
        ApiKey.AUTHENTICATE,
        AuthenticateRequest(proof=proof(secret, b"ottla client", nonce + answer.server_nonce)),
    )
    return msgspec.msgpack.decode(wire.frame()[4:], type=AuthenticateResponse)


def test_who_knows_the_secret_may_use_private_and_public_apis(internal, broker_process) -> None:
    assert log_in(internal, broker_process.cluster_secret).error_code == 0
    assert internal.call(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest()).error_code == 0
    send(internal, ApiKey.TELEMETRY, TelemetryRequest())
    assert len(internal.frame()) > 20


def test_a_wrong_proof_is_closed(internal) -> None:
    challenge(internal)
    send(internal, ApiKey.AUTHENTICATE, AuthenticateRequest(proof=bytes(32)))
    assert internal.closed_by_broker()


def test_a_proof_without_a_challenge_is_closed(internal, broker_process) -> None:
    send(internal, ApiKey.AUTHENTICATE, AuthenticateRequest(proof=proof(broker_process.cluster_secret, b"", b"")))
    assert internal.closed_by_broker()


def test_a_recorded_proof_is_worthless(broker_process, internal) -> None:
    with Wire(broker_process.internal_port) as recorded:
        nonce, answer = challenge(recorded)
        old = proof(broker_process.cluster_secret, b"ottla client", nonce + answer.server_nonce)
    send(internal, ApiKey.AUTHENTICATE, AuthenticateRequest(client_nonce=nonce))
    internal.frame()
    send(internal, ApiKey.AUTHENTICATE, AuthenticateRequest(proof=old))
    assert internal.closed_by_broker()


def test_our_own_proof_cannot_be_reflected(internal) -> None:
    _, answer = challenge(internal)
    send(internal, ApiKey.AUTHENTICATE, AuthenticateRequest(proof=answer.proof))
    assert internal.closed_by_broker()


@pytest.mark.parametrize("api_key", [ApiKey.API_VERSIONS, ApiKey.METADATA, ApiKey.TELEMETRY])
def test_nothing_is_served_before_the_proof(internal, api_key) -> None:
    internal.send(raw_frame(struct.pack(">hhih", api_key, 0, 1, -1) + b"\x80"))
    assert internal.closed_by_broker()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_nonce_of_the_wrong_size_is_closed(internal, size) -> None:
    send(internal, ApiKey.AUTHENTICATE, AuthenticateRequest(client_nonce=bytes(size)))
    assert internal.closed_by_broker()


def test_a_second_log_in_is_a_violation(internal, broker_process) -> None:
    log_in(internal, broker_process.cluster_secret)
    send(internal, ApiKey.AUTHENTICATE, AuthenticateRequest(client_nonce=bytes(32)))
    assert internal.closed_by_broker()


def test_bodies_that_are_no_messagepack_are_closed(internal) -> None:
    internal.send(raw_frame(struct.pack(">hhih", ApiKey.AUTHENTICATE, 0, 1, -1) + b"\xc1\xff\xff"))
    assert internal.closed_by_broker()
