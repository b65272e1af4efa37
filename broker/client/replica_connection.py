"""The connection on which a broker follows another: whole answers as views of received memory, nothing copied.

Owns one transport to the internal listener of a source broker and the memory for what arrives on it; given to the
replication driver as a ``SourceConnection``. What must stay true:

- a frame handed on is a view: it is used up before the call returns, then its memory is received into again;
- a connection owns ``RECEIVE_BYTES`` for small answers, and one larger buffer while large answers come: no larger than
  the largest of them, and given back when none came for a second or two;
- nothing is handed on before both sides have proved that they know the cluster's secret.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TypeVar, cast

import msgspec

from broker import limits
from broker.client import handshake
from broker.client.addresses import Address
from broker.protocol import header, private
from broker.protocol.api import ApiKey
from broker.replication.ports import FrameReceiver, SourceUnreachable

RECEIVE_BYTES = 64 * limits.KIB
LARGE_BUFFER_STEP_BYTES = 256 * limits.KIB
FRAME_BYTES_MIN = 4
CONNECT_TIMEOUT_SECONDS = 2.0
_PRIVATE_VERSION = 0
_CORRELATION_BYTES = 4
_LENGTH = struct.Struct(">i")

Answer = TypeVar("Answer", bound=msgspec.Struct)


class ReplicaConnection(asyncio.BufferedProtocol):
    """Open with ``open_replica_connection``."""

    __slots__ = (
        "_address",
        "_frame_bytes_max",
        "_handshake",
        "_held",
        "_large",
        "_large_is_used",
        "_length",
        "_lost_reason",
        "_received",
        "_receiver",
        "_small",
        "_target",
        "_transport",
    )

    def __init__(self, address: Address, receiver: FrameReceiver, frame_bytes_max: int) -> None:
        self._address = address
        self._receiver = receiver
        self._frame_bytes_max = frame_bytes_max
        self._transport: asyncio.Transport | None = None
        self._handshake: deque[asyncio.Future[bytes]] | None = deque()
        """Who waits for the next frame; ``None`` once frames are the receiver's."""
        self._small = memoryview(bytearray(RECEIVE_BYTES))
        self._held = 0
        """Bytes at the beginning of ``_small`` that are not a whole frame yet."""
        self._target: memoryview | None = None
        """Where the rest of a large frame goes; ``None`` between large frames."""
        self._large: memoryview | None = None
        self._large_is_used = False
        self._length = 0
        self._received = 0
        self._lost_reason = ""

    # Sending ----------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        if self._transport is not None:
            self._transport.write(frame)

    def close(self, reason: str) -> None:
        self._lost_reason = self._lost_reason or reason
        if self._transport is not None:
            self._transport.abort()

    def trim(self) -> None:
        if self._large is not None and self._target is None and not self._large_is_used:
            self._large = None
        self._large_is_used = False

    # Transport --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods but not its base class.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._large = self._target = None
        reason = self._lost_reason or (f"{self._address}: {exc}" if exc else f"{self._address} closed the connection")
        if self._handshake is None:
            self._receiver.on_lost(reason)
            return
        for waiting in self._handshake:
            if not waiting.done():
                waiting.set_exception(SourceUnreachable(reason))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._small[self._held :] if self._target is None else self._target

    def buffer_updated(self, nbytes: int) -> None:
        if self._target is None:
            self._consume(self._held + nbytes)
            return
        self._received += nbytes
        assert self._large is not None
        if self._received < self._length:
            self._target = self._large[self._received : self._length]
            return
        self._target = None
        self._deliver(self._large[: self._length])

    def _consume(self, end: int) -> None:
        """Deliver every whole frame of ``_small[:end]`` and keep what is left for the next read."""
        small, at = self._small, 0
        while end - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(small, at)
            if not FRAME_BYTES_MIN <= length <= self._frame_bytes_max:
                self.close(f"{self._address} announced a frame of {length} bytes")
                return
            start, stop = at + _LENGTH.size, at + _LENGTH.size + length
            if stop > end:
                if _LENGTH.size + length > RECEIVE_BYTES:
                    self._begin_large(length, small[start:end])
                    return
                break
            self._deliver(small[start:stop])
            at = stop
        self._held = end - at
        if at and self._held:
            small[: self._held] = bytes(small[at:end])

    def _begin_large(self, length: int, head: memoryview) -> None:
        if self._large is None or len(self._large) < length:
            self._large = memoryview(bytearray(-(-length // LARGE_BUFFER_STEP_BYTES) * LARGE_BUFFER_STEP_BYTES))
        self._large_is_used = True
        self._length, self._received = length, len(head)
        self._large[: len(head)] = head
        self._held = 0
        self._target = self._large[len(head) : length]

    def _deliver(self, frame: memoryview) -> None:
        if self._handshake is None:
            self._receiver.on_frame(frame)
        elif self._handshake:
            waiting = self._handshake.popleft()
            if not waiting.done():
                waiting.set_result(bytes(frame))
        else:
            self.close(f"{self._address} sent what nobody asked for")

    # Handshake --------------------------------------------------------------------------------------

    async def prove(self, secret: bytes) -> None:
        """Raises ``SourceUnreachable``. From then on frames go to the receiver."""
        nonce = handshake.new_nonce()
        challenge = await self._authenticate(private.AuthenticateRequest(client_nonce=nonce), correlation_id=1)
        expected = handshake.server_proof(secret, nonce, challenge.server_nonce)
        if not handshake.proof_matches(expected, challenge.proof):
            raise SourceUnreachable(f"{self._address} does not know the cluster secret")
        proof = handshake.client_proof(secret, nonce, challenge.server_nonce)
        await self._authenticate(private.AuthenticateRequest(client_nonce=nonce, proof=proof), correlation_id=2)
        if self._transport is None:
            raise SourceUnreachable(self._lost_reason or f"{self._address} closed the connection")
        self._handshake = None

    async def _authenticate(
        self, request: private.AuthenticateRequest, *, correlation_id: int
    ) -> private.AuthenticateResponse:
        assert self._handshake is not None
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._handshake.append(answer)
        head = header.request_header(ApiKey.AUTHENTICATE, _PRIVATE_VERSION, correlation_id, None)
        body = msgspec.msgpack.encode(request)
        self.send(_LENGTH.pack(len(head) + len(body)) + head + body)
        frame = await answer
        try:
            response = msgspec.msgpack.decode(memoryview(frame)[_CORRELATION_BYTES:], type=private.AuthenticateResponse)
        except msgspec.MsgspecError as error:
            raise SourceUnreachable(f"{self._address} does not answer like an internal listener: {error}") from error
        if response.error_code:
            raise SourceUnreachable(f"{self._address} refused the cluster secret: {response.error_message}")
        return response


async def open_replica_connection(
    host: str,
    port: int,
    receiver: FrameReceiver,
    *,
    secret: bytes,
    receive_buffer_bytes: int,
    frame_bytes_max: int = limits.FRAME_BYTES_MAX,
) -> ReplicaConnection:
    """Connect and prove. Raises ``SourceUnreachable``."""
    address = Address(host, port)
    connection = ReplicaConnection(address, receiver, frame_bytes_max)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
            transport, _ = await loop.create_connection(lambda: connection, host, port)
            connected = transport.get_extra_info("socket")
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer_bytes > 0:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            await connection.prove(secret)
    except TimeoutError:
        connection.close("too slow")
        raise SourceUnreachable(f"{address} was not reached within {CONNECT_TIMEOUT_SECONDS:g} s") from None
    except OSError as error:
        raise SourceUnreachable(f"cannot connect to {address}: {error}") from error
    except BaseException:
        connection.close("the handshake failed")
        raise
    return connection
