"""The connection of a follower: whole frames out of any pieces, memory that is bounded, and proofs before anything else."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from broker.client import handshake
from broker.client.replica_connection import (
    LARGE_BUFFER_STEP_BYTES,
    RECEIVE_BYTES,
    ReplicaConnection,
    open_replica_connection,
)
from broker.protocol import private
from broker.protocol.header import parse_request_header
from broker.replication.ports import SourceUnreachable
from tests.support.wait import eventually

SECRET = b"s" * 32
FRAME_BYTES_MAX = 4 * 1024 * 1024


class Receiver:
    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.lost: list[str] = []

    def on_frame(self, frame: memoryview) -> None:
        self.frames.append(bytes(frame))

    def on_lost(self, reason: str) -> None:
        self.lost.append(reason)


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


class Source:
    """The other end: proves itself with ``secret``, then sends what the test says."""

    def __init__(self, secret: bytes = SECRET) -> None:
        self.secret = secret
        self.received: list[bytes] = []
        self.writer: asyncio.StreamWriter | None = None
        self.refuses = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        try:
            await self._authenticate(reader, writer)
            while True:
                self.received.append(await self._frame(reader))
        except asyncio.IncompleteReadError:
            writer.close()

    async def _authenticate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonce = b""
        for _ in range(2):
            frame = await self._frame(reader)
            _, _, correlation_id, _, at = parse_request_header(memoryview(frame))
            request = msgspec.msgpack.decode(frame[at:], type=private.AuthenticateRequest)
            if self.refuses:
                writer.close()
                raise asyncio.IncompleteReadError(b"", 1)
            if request.proof:
                answer = private.AuthenticateResponse()
            else:
                nonce = handshake.new_nonce()
                proof = handshake.server_proof(self.secret, request.client_nonce, nonce)
                answer = private.AuthenticateResponse(server_nonce=nonce, proof=proof)
            writer.write(framed(struct.pack(">i", correlation_id) + msgspec.msgpack.encode(answer)))

    @staticmethod
    async def _frame(reader: asyncio.StreamReader) -> bytes:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return await reader.readexactly(size)

    async def send(self, *pieces: bytes) -> None:
        assert self.writer is not None
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)


@asynccontextmanager
async def connected(source: Source) -> AsyncIterator[tuple[ReplicaConnection, Receiver]]:
    receiver = Receiver()
    server = await asyncio.start_server(source.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        connection = await open_replica_connection(
            "127.0.0.1", port, receiver, secret=SECRET, receive_buffer_bytes=65_536, frame_bytes_max=FRAME_BYTES_MAX
        )
        try:
            yield connection, receiver
        finally:
            connection.close("the test is over")
            await eventually(lambda: receiver.lost)
    finally:
        server.close()
        if source.writer is not None:
            source.writer.close()
        await server.wait_closed()


SIZES = (4, 5, 100, RECEIVE_BYTES - 4, RECEIVE_BYTES - 3, RECEIVE_BYTES, 3 * RECEIVE_BYTES, 1_000_000, 7)


def bodies() -> list[bytes]:
    return [bytes([number]) * size for number, size in enumerate(SIZES, start=1)]


@pytest.mark.parametrize("cut", [1_000_000_000, 300_000, 70_000, 65_537, 999, 13])
async def test_frames_come_whole_however_the_stream_is_cut(cut: int) -> None:
    wanted = bodies() if cut > 500 else [body for body in bodies() if len(body) < 1_000]
    stream = b"".join(framed(body) for body in wanted)
    source = Source()
    async with connected(source) as (_, receiver):
        await source.send(*(stream[at : at + cut] for at in range(0, len(stream), cut)))
        await eventually(lambda: len(receiver.frames) == len(wanted))
        assert receiver.frames == wanted


async def test_what_is_sent_arrives() -> None:
    source = Source()
    async with connected(source) as (connection, _):
        connection.send(framed(b"abcd"))
        await eventually(lambda: source.received == [b"abcd"])


async def test_a_large_buffer_is_used_again_and_given_back_when_it_is_not() -> None:
    source = Source()
    async with connected(source) as (connection, receiver):
        await source.send(framed(b"x" * 300_000))
        await eventually(lambda: receiver.frames)
        first = connection._large
        assert first is not None
        assert len(first) == 2 * LARGE_BUFFER_STEP_BYTES
        await source.send(framed(b"y" * 200_000))
        await eventually(lambda: len(receiver.frames) == 2)
        assert connection._large is first
        connection.trim()
        assert connection._large is first
        connection.trim()
        assert connection._large is None


@pytest.mark.parametrize("length", [-1, 3, FRAME_BYTES_MAX + 1])
async def test_a_length_that_cannot_be_ends_the_connection(length: int) -> None:
    source = Source()
    async with connected(source) as (_, receiver):
        await source.send(struct.pack(">i", length) + b"....")
        await eventually(lambda: receiver.lost)
        assert f"announced a frame of {length} bytes" in receiver.lost[0]
        assert not receiver.frames


async def test_the_end_of_the_other_side_is_told_once() -> None:
    source = Source()
    async with connected(source) as (connection, receiver):
        assert source.writer is not None
        source.writer.close()
        await eventually(lambda: receiver.lost)
        connection.close("later")
        assert len(receiver.lost) == 1


async def test_a_source_that_does_not_know_the_secret_is_not_followed() -> None:
    with pytest.raises(SourceUnreachable, match="does not know the cluster secret"):
        async with connected(Source(secret=b"another" * 8)):
            pass


async def test_a_source_that_ends_the_handshake_is_unreachable() -> None:
    source = Source()
    source.refuses = True
    with pytest.raises(SourceUnreachable, match="closed the connection"):
        async with connected(source):
            pass


async def test_nobody_listening_is_unreachable() -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(SourceUnreachable, match="cannot connect"):
        await open_replica_connection("127.0.0.1", port, Receiver(), secret=SECRET, receive_buffer_bytes=0)
