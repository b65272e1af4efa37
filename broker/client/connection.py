"""One pipelined connection to one broker.

Owns: framing, correlation, deadlines, version negotiation and the internal listener's handshake. Kafka answers
one connection strictly in order, so the oldest unanswered request must be the one answered: anything else is
the peer's fault and ends the connection. A call that passes its deadline ends the connection too — its answer
may still come, and whatever is queued behind it would wait for the same stuck broker.

Used only from the event loop that opened it.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from broker import limits
from broker.client import handshake
from broker.client.addresses import Address
from broker.client.errors import (
    AuthenticationFailedError,
    ClientConnectionError,
    ClientTimeoutError,
    PeerProtocolError,
)
from broker.client.versions import CLIENT_VERSIONS, negotiate, require_version
from broker.errors import ErrorCode
from broker.protocol import codec, header, private
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.malformed import MalformedMessage

PENDING_REQUESTS_MAX = 256
CONNECT_TIMEOUT_SECONDS = 3.0
CLOSE_TIMEOUT_SECONDS = 1.0
CLIENT_SOFTWARE_NAME = "ottla"
CLIENT_SOFTWARE_VERSION = "0.1.0"

_LENGTH = struct.Struct(">i")
_PRIVATE_VERSION = 0
_PRIVATE_RESPONSE_HEADER_BYTES = 4

StructType = TypeVar("StructType", bound=msgspec.Struct)


@dataclass(slots=True)
class _Pending:
    correlation_id: int
    answer: asyncio.Future[bytes] | None
    """None once the caller has gone; the answer is then dropped."""


class Connection:
    """Open with ``Connection.open``; after ``closed`` turns true it stays so."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: Address,
        client_id: str,
        frame_bytes_max: int,
    ) -> None:
        self.address = address
        self.closed = False
        self.versions: dict[int, int] = {}
        self._reader = reader
        self._writer = writer
        self._client_id = client_id
        self._frame_bytes_max = frame_bytes_max
        self._pending: deque[_Pending] = deque()
        self._next_correlation_id = 0
        self._reading = asyncio.create_task(self._read_answers(), name=f"client {address}")

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        client_id: str = "ottla",
        secret: bytes | None = None,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
        frame_bytes_max: int = limits.FRAME_BYTES_MAX,
    ) -> Connection:
        """Connect, authenticate when a secret is given, agree on versions."""
        try:
            async with asyncio.timeout(connect_timeout_seconds):
                reader, writer = await asyncio.open_connection(address.host, address.port)
        except TimeoutError:
            raise ClientTimeoutError(f"no connection to {address} within {connect_timeout_seconds:g} s") from None
        except OSError as error:
            raise ClientConnectionError(f"cannot connect to {address}: {error}") from error
        connection = cls(reader, writer, address, client_id, frame_bytes_max)
        try:
            if secret is not None:
                await connection._authenticate(secret, connect_timeout_seconds)
            connection.versions = await connection._negotiate(connect_timeout_seconds)
        except BaseException:
            await connection.close()
            raise
        return connection

    @property
    def pending_count(self) -> int:
        """Requests whose answer has not arrived."""
        return len(self._pending)

    async def call(self, api_key: int, message: Any, *, timeout_seconds: float) -> Any:
        """Send one Kafka request in the agreed version and return its decoded response."""
        version = require_version(self.versions, api_key)
        return await self.call_version(api_key, version, message, timeout_seconds)

    async def call_private(
        self, api_key: int, request: msgspec.Struct, response_type: type[StructType], *, timeout_seconds: float
    ) -> StructType:
        """Send one private request (MessagePack body) and return its response."""
        frame = await self._exchange(api_key, _PRIVATE_VERSION, msgspec.msgpack.encode(request), timeout_seconds)
        try:
            return msgspec.msgpack.decode(memoryview(frame)[_PRIVATE_RESPONSE_HEADER_BYTES:], type=response_type)
        except msgspec.MsgspecError as error:
            raise self._fail(
                PeerProtocolError(f"{self.address}: unreadable {response_type.__name__}: {error}")
            ) from error

    async def close(self) -> None:
        self._abandon(ClientConnectionError(f"the connection to {self.address} was closed", maybe_sent=True))
        if self._reading is not asyncio.current_task():
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    # Handshakes ------------------------------------------------------------------------------------

    async def _authenticate(self, secret: bytes, timeout_seconds: float) -> None:
        nonce = handshake.new_nonce()
        hint = "is this the internal listener?"
        try:
            challenge = await self.call_private(
                ApiKey.AUTHENTICATE,
                private.AuthenticateRequest(client_nonce=nonce),
                private.AuthenticateResponse,
                timeout_seconds=timeout_seconds,
            )
            _refuse(challenge, self.address)
            if not handshake.proof_matches(
                handshake.server_proof(secret, nonce, challenge.server_nonce), challenge.proof
            ):
                raise AuthenticationFailedError(f"{self.address} does not know the cluster secret")
            answer = await self.call_private(
                ApiKey.AUTHENTICATE,
                private.AuthenticateRequest(
                    client_nonce=nonce, proof=handshake.client_proof(secret, nonce, challenge.server_nonce)
                ),
                private.AuthenticateResponse,
                timeout_seconds=timeout_seconds,
            )
        except AuthenticationFailedError:
            raise
        except ClientConnectionError as error:
            raise AuthenticationFailedError(f"{self.address} refused the handshake ({error}); {hint}") from error
        _refuse(answer, self.address)

    async def _negotiate(self, timeout_seconds: float) -> dict[int, int]:
        request = m.ApiVersionsRequest(
            client_software_name=CLIENT_SOFTWARE_NAME, client_software_version=CLIENT_SOFTWARE_VERSION
        )
        version = CLIENT_VERSIONS[ApiKey.API_VERSIONS][1]
        frame = await self._exchange(
            ApiKey.API_VERSIONS,
            version,
            codec.encode_request(ApiKey.API_VERSIONS, version, request),
            timeout_seconds,
        )
        # A broker that does not know our version answers in the body of version 0 with error 35 (KIP-511).
        if frame[4:6] == ErrorCode.UNSUPPORTED_VERSION.to_bytes(2, "big"):
            answer = await self.call_version(ApiKey.API_VERSIONS, 0, m.ApiVersionsRequest(), timeout_seconds)
        else:
            answer = self._decode(ApiKey.API_VERSIONS, version, frame)
        if answer.error_code:
            raise PeerProtocolError(f"{self.address} refused ApiVersions with error {answer.error_code}")
        return negotiate((entry.api_key, entry.min_version, entry.max_version) for entry in answer.api_keys)

    # One exchange ----------------------------------------------------------------------------------

    async def call_version(self, api_key: int, version: int, message: Any, timeout_seconds: float) -> Any:
        """Send one Kafka request in a version the caller answers for."""
        body = codec.encode_request(api_key, version, message)
        frame = await self._exchange(api_key, version, body, timeout_seconds)
        return self._decode(api_key, version, frame)

    def _decode(self, api_key: int, version: int, frame: bytes) -> Any:
        view = memoryview(frame)
        try:
            _, body_offset = header.skip_response_header(api_key, version, view)
            return codec.decode_response(api_key, version, view[body_offset:])
        except MalformedMessage as error:
            raise self._fail(
                PeerProtocolError(f"{self.address}: unreadable {ApiKey(api_key).name} v{version} response: {error}")
            ) from error

    async def send_unanswered(self, api_key: int, message: Any) -> None:
        """Send a request that gets no response by protocol (Produce with acks=0)."""
        version = require_version(self.versions, api_key)
        self._refuse_when_unusable()
        correlation_id = self._take_correlation_id()
        self._write(api_key, version, correlation_id, codec.encode_request(api_key, version, message))
        await self._writer.drain()

    async def _exchange(self, api_key: int, version: int, body: bytes, timeout_seconds: float) -> bytes:
        """Write one request and wait for its response frame (correlation id first)."""
        self._refuse_when_unusable()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        pending = _Pending(self._take_correlation_id(), answer)
        self._pending.append(pending)
        self._write(api_key, version, pending.correlation_id, body)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._writer.drain()
                return await answer
        except TimeoutError:
            pending.answer = None
            name = ApiKey(api_key).name
            raise self._fail(
                ClientTimeoutError(
                    f"{self.address} did not answer {name} within {timeout_seconds:g} s", maybe_sent=True
                )
            ) from None
        except asyncio.CancelledError:
            pending.answer = None
            raise
        except ClientConnectionError:
            raise
        except OSError as error:
            pending.answer = None
            raise self._fail(
                ClientConnectionError(f"connection to {self.address} lost: {error}", maybe_sent=True)
            ) from error

    def _refuse_when_unusable(self) -> None:
        if self.closed:
            raise ClientConnectionError(f"the connection to {self.address} is closed")
        if len(self._pending) >= PENDING_REQUESTS_MAX:
            raise ClientConnectionError(f"{PENDING_REQUESTS_MAX} requests to {self.address} are already waiting")

    def _take_correlation_id(self) -> int:
        self._next_correlation_id = (self._next_correlation_id + 1) & 0x7FFFFFFF
        return self._next_correlation_id

    def _write(self, api_key: int, version: int, correlation_id: int, body: bytes) -> None:
        head = header.request_header(api_key, version, correlation_id, self._client_id)
        self._writer.writelines((_LENGTH.pack(len(head) + len(body)), head, body))

    async def _read_answers(self) -> None:
        try:
            while True:
                frame = await self._read_frame()
                if frame is None:
                    self._abandon(ClientConnectionError(f"{self.address} closed the connection", maybe_sent=True))
                    return
                self._deliver(frame)
        except ClientConnectionError as error:
            self._abandon(error)
        except asyncio.IncompleteReadError:
            self._abandon(PeerProtocolError(f"{self.address} closed the connection within a frame", maybe_sent=True))
        except OSError as error:
            self._abandon(ClientConnectionError(f"connection to {self.address} lost: {error}", maybe_sent=True))

    async def _read_frame(self) -> bytes | None:
        """The next frame; None at an orderly end of the stream."""
        try:
            prefix = await self._reader.readexactly(_LENGTH.size)
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                return None
            raise
        (size,) = _LENGTH.unpack(prefix)
        if not 4 <= size <= self._frame_bytes_max:
            raise PeerProtocolError(f"{self.address} announced a frame of {size} bytes", maybe_sent=True)
        return await self._reader.readexactly(size)

    def _deliver(self, frame: bytes) -> None:
        (correlation_id,) = _LENGTH.unpack_from(frame)
        if not self._pending:
            raise PeerProtocolError(f"{self.address} answered {correlation_id} which nobody asked")
        pending = self._pending[0]
        if pending.correlation_id != correlation_id:
            raise PeerProtocolError(
                f"{self.address} answered {correlation_id} where {pending.correlation_id} was due", maybe_sent=True
            )
        self._pending.popleft()
        if pending.answer is not None and not pending.answer.done():
            pending.answer.set_result(frame)

    def _fail(self, error: ClientConnectionError) -> ClientConnectionError:
        """End the connection because of ``error``; returned so that the caller can raise it."""
        self._abandon(error)
        self._reading.cancel()
        return error

    def _abandon(self, error: ClientConnectionError) -> None:
        self.closed = True
        self._writer.close()
        waiting, self._pending = self._pending, deque()
        for pending in waiting:
            if pending.answer is not None and not pending.answer.done():
                pending.answer.set_exception(error)


def _refuse(answer: private.AuthenticateResponse, address: Address) -> None:
    if answer.error_code:
        detail = answer.error_message or ErrorCode.SASL_AUTHENTICATION_FAILED.message
        raise AuthenticationFailedError(f"{address} refused the cluster secret: {detail}")
