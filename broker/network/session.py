"""One client connection: bytes in, frames to the pipeline, answers out in the order of the requests.

Owns the transport of one peer. Called by the event loop (``BufferedProtocol``), by deferred answers and by the
server's coarse timer. What must stay true:

- Answers leave in request order. ``_pending`` holds the requests whose answers are not written yet, oldest first.
- Only Produce may be started while others wait, and only behind other Produce requests: they append in order and
  their answers are parked until committed. Every other request starts when all before it are answered. A Produce that
  has to wait before it appends is ``exclusive`` until it has: the next one must not overtake it.
- A broker that follows others sends its next Fetch behind one that waits when it has to ask for more: the one that waits
  is answered at once.
- Acknowledgements that a follower's fetch or a flush sets free leave behind the answers to readers that it sets free, so that one
  write serves many partitions, and what has been written is read as soon as it can be.
- A session that may not start its next frame is *blocked*: what is left of the input is copied once into
  ``_backlog`` and reading is paused, so a blocked connection owns at most one receive buffer of input.
- A connection whose client has to wait for its quota is *muted*: nothing is read and no request started until the time
  is over; what is to be answered is answered (KIP-219).
- A peer that does not read its answers is not served: above the transport's high-water mark it is blocked as well.
- A frame handed to the pipeline is a view of shared memory; it is used up before the call returns.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import TYPE_CHECKING, cast

from broker import limits
from broker.handlers.context import ConnectionInfo
from broker.handlers.reply import Answer, CloseConnection, Deferred
from broker.network.frames import PartialFrame
from broker.network.looks import RateMark

if TYPE_CHECKING:
    from broker.network.server import Server

_LENGTH = struct.Struct(">i")
_PRODUCE_KEY = b"\x00\x00"
_FETCH_KEY = b"\x00\x01"
FRAME_BYTES_MIN = 8
"""API key, version, correlation id: nothing shorter is a request."""
PREAUTH_FRAME_BYTES_MAX = 4 * limits.KIB
JOINED_ANSWER_BYTES_MAX = 64 * limits.KIB
"""Answers below this are joined into one write; larger ones go out as the pieces they are."""


class Session(asyncio.BufferedProtocol):
    __slots__ = (
        "_backlog",
        "_blocked",
        "_draining",
        "_exclusive",
        "_frame",
        "_frame_bytes_max",
        "_head",
        "_memory",
        "_muted",
        "_out",
        "_out_bytes",
        "_pending",
        "_pipeline",
        "_preauth",
        "_reading",
        "_server",
        "_shared",
        "_transport",
        "_unsent",
        "_write_paused",
        "_written_bytes",
        "active_tick",
        "closed",
        "connection",
        "mark",
        "opened_tick",
    )

    def __init__(self, server: Server, listener: str) -> None:
        self._server = server
        self._memory = server.memory
        self._shared = server.memory.shared
        self._pipeline = server.pipeline
        self._transport: asyncio.Transport | None = None
        self._pending: deque[Deferred] = deque()
        self._exclusive = False
        self._backlog: memoryview | None = None
        self._blocked = False
        self._write_paused = False
        self._muted: asyncio.TimerHandle | None = None
        self._reading = True
        self._draining = False
        self._frame: PartialFrame | None = None
        self._head = b""
        self._out: list = []
        self._out_bytes = 0
        self._unsent = self._written_bytes = 0
        self._preauth = listener == "internal"
        self._frame_bytes_max = PREAUTH_FRAME_BYTES_MAX if self._preauth else server.frame_bytes_max
        self.connection = ConnectionInfo(0, "", 0, listener)
        self.opened_tick = self.active_tick = server.tick
        self.closed = False
        self.mark = RateMark(server.loop.time(), 0, 0, 0)

    # Life of the connection -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods but not its base class.
        self._transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(limits.WRITE_BUFFER_HIGH_BYTES, limits.WRITE_BUFFER_LOW_BYTES)
        self._server.opened(self, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._transport = None
        self._release_backlog()
        self._note_unsent(0)
        self._out.clear()
        if self._muted is not None:
            self._muted.cancel()
            self._muted = None
        if self._frame is not None:
            self._frame.release()
            self._frame = None
        pending, self._pending = self._pending, deque()
        for deferred in pending:
            deferred.abandon()
        self._server.lost(self)

    def eof_received(self) -> None:
        """The peer will send nothing more; the transport closes after what is already written."""

    def close(self) -> None:
        """End in order: what is written goes out first, if the peer takes it in time."""
        self.closed = True
        self.active_tick = self._server.tick
        if self._transport is not None:
            self._write_out()
            self._transport.close()

    def abort(self, reason: str) -> None:
        """End now, dropping unsent bytes."""
        self.closed = True
        self._server.violation(self, reason)
        if self._transport is not None:
            self._transport.abort()

    def drain(self) -> None:
        """Start no further request; close as soon as the pending ones are answered."""
        self._draining = True
        if not self._pending:
            self.close()

    def disconnect(self) -> None:
        """End now, by no fault of the peer."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def waiting(self) -> bool:
        """The peer waits for us, not we for it: such a connection is not idle however quiet it is."""
        return self._muted is not None or (bool(self._pending) and not self._write_paused)

    @property
    def unproven(self) -> bool:
        return self._preauth

    @property
    def incomplete_since_tick(self) -> int | None:
        """When the frame under way began to arrive; ``None`` without one, or while we do not read it."""
        if self._muted is not None:
            return None
        if self._frame is not None:
            return self._frame.started_tick
        return self.active_tick if self._head else None

    @property
    def incomplete_bytes(self) -> int:
        return self._frame.length if self._frame is not None else 0

    def held_bytes(self) -> tuple[int, int]:
        """(input that waits for its turn, answers the peer has not taken)."""
        waiting = len(self._backlog or b"") + (0 if self._frame is None else len(self._frame.buffer))
        return waiting, 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def pending_count(self) -> int:
        return len(self._pending)

    @property
    def muted(self) -> bool:
        return self._muted is not None

    # Input ------------------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        frame = self._frame
        return self._shared if frame is None else frame.tail()

    def buffer_updated(self, nbytes: int) -> None:
        if self.closed:
            return
        self.active_tick = self._server.tick
        self.connection.bytes_in_total += nbytes
        frame = self._frame
        if frame is not None:
            if not self._advance(frame, nbytes):
                return
            self._frame = None
            self._complete(frame)
        elif self._head:
            self._join_head(nbytes)
        else:
            self._consume(self._shared, 0, nbytes)
        # Readers that were woken first: an acknowledgement can wait for them a few microseconds, end to end counts.
        self._server.after_input()
        if self._out:
            self._write_out()
        self._server.write_waiting()

    def _advance(self, frame: PartialFrame, nbytes: int) -> bool:
        try:
            return frame.advance(nbytes)
        except CloseConnection as refusal:
            self._violate(refusal)
            return False

    def _begin(self, length: int, head: memoryview) -> None:
        try:
            self._frame = PartialFrame(self._memory, length, head, self._server.tick)
        except CloseConnection as refusal:
            self._violate(refusal)

    def _complete(self, frame: PartialFrame) -> None:
        body = frame.body()
        if self._start(body):
            frame.release()
        else:
            self._block(_LENGTH.pack(frame.length), body)
            frame.release()

    def _join_head(self, nbytes: int) -> None:
        """Fewer than four bytes of a length prefix were left by the last read."""
        data = bytearray(self._head)
        data += self._shared[:nbytes]
        self._head = b""
        self._consume(memoryview(data), 0, len(data))

    def _consume(self, view: memoryview, position: int, end: int) -> None:
        """Start every whole frame of ``view[position:end]``; keep the rest as a partial frame or a backlog."""
        while end - position >= 4:
            (length,) = _LENGTH.unpack_from(view, position)
            if length < FRAME_BYTES_MIN or length > self._frame_bytes_max:
                self._violate(CloseConnection(f"frame of {length} bytes"))
                return
            start = position + 4
            stop = start + length
            if stop > end:
                self._begin(length, view[start:end])
                return
            if not self._start(view[start:stop]):
                self._block(b"", view[position:end])
                return
            if self.closed:
                return
            position = stop
        self._head = bytes(view[position:end])

    def _block(self, prefix: bytes, rest: memoryview) -> None:
        size = len(prefix) + len(rest)
        try:
            self._memory.hold(size)
        except CloseConnection as refusal:
            self._violate(refusal)
            return
        backlog = bytearray(prefix)
        backlog += rest
        self._backlog = memoryview(backlog)
        self._blocked = True
        self._read_if_possible()

    def _unblock_soon(self) -> None:
        """Continue with the backlog in a callback of its own: the caller may be inside another session."""
        backlog = self._backlog
        if backlog is not None and self._blocked and not self._stopped and self._may_start(backlog[4:6]):
            self._blocked = False
            self._server.loop.call_soon(self._continue)

    def _continue(self) -> None:
        backlog = self._backlog
        if self.closed or backlog is None:
            return
        self._release_backlog()
        self._consume(backlog, 0, len(backlog))
        if self._out:
            self._write_out()
        self._read_if_possible()
        self._server.after_input()

    def _release_backlog(self) -> None:
        if self._backlog is not None:
            self._memory.let_go(len(self._backlog))
            self._backlog = None

    @property
    def _stopped(self) -> bool:
        """No request may start, whatever it is."""
        return self._write_paused or self._muted is not None

    def _read_if_possible(self) -> None:
        wanted = not self._blocked and self._muted is None
        if wanted == self._reading or self._transport is None or self.closed:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    # Throttling -------------------------------------------------------------------------------------

    def mute(self) -> None:
        """Its client has used more than its quota: do not read for a while. A longer wait replaces a shorter one."""
        connection = self.connection
        seconds, connection.mute_ms = connection.mute_ms / 1_000, 0
        connection.throttled_ms_total += int(seconds * 1_000)
        loop = self._server.loop
        if self.closed:
            return
        if self._muted is not None:
            if self._muted.when() >= loop.time() + seconds:
                return
            self._muted.cancel()
        self._muted = loop.call_later(seconds, self._unmute)
        self._read_if_possible()

    def _unmute(self) -> None:
        self._muted = None
        self.active_tick = self._server.tick
        if self._frame is not None:
            self._frame.started_tick = self._server.tick
        if self._blocked:
            self._unblock_soon()
        self._read_if_possible()

    # Requests ---------------------------------------------------------------------------------------

    def _start(self, frame: memoryview) -> bool:
        """Hand one frame to the pipeline. False when it may not start yet."""
        pending = self._pending
        if self._stopped or self._draining:
            return False
        if pending and not self._may_start(frame[:2]) and not self._hurried(frame[:2]):
            return False
        try:
            reply = self._pipeline.handle(frame, self.connection)
        except CloseConnection as violation:
            self._violate(violation)
            return True
        if self._preauth and self.connection.authenticated:
            self._preauth = False
            self._frame_bytes_max = self._server.frame_bytes_max
        if isinstance(reply, Deferred):
            self._park(reply, exclusive=reply.exclusive or frame[:2] != _PRODUCE_KEY)
        elif reply is not None:
            if pending:
                self._park_answered(reply)
            else:
                self._send(reply)
        elif self.connection.mute_ms:
            self.mute()
        return True

    def _hurried(self, api_key: memoryview) -> bool:
        """A follower asks again: answer what waits for it. Whether nothing is pending any more."""
        if api_key != _FETCH_KEY or not self.connection.authenticated:
            return False
        self._pending[-1].hurry()
        return not self._pending and not self.closed

    def _may_start(self, api_key: memoryview) -> bool:
        """Whether the next request of this key may be started behind those that are pending."""
        pending = self._pending
        return not pending or (
            api_key == _PRODUCE_KEY and not self._exclusive and len(pending) < limits.PENDING_REQUESTS_MAX
        )

    def _park(self, deferred: Deferred, *, exclusive: bool) -> None:
        if deferred.done and not self._pending:
            self._finish(deferred)
            return
        deferred.owner = self
        self._exclusive = exclusive
        self._pending.append(deferred)

    def _park_answered(self, answer: Answer) -> None:
        """An answer that is ready behind others that are not."""
        deferred = Deferred()
        deferred.resolve(answer)
        self._pending.append(deferred)

    def on_answered(self, deferred: Deferred) -> None:
        """A parked request has its answer: write every answer whose turn it is now."""
        pending = self._pending
        while pending and pending[0].done and not self.closed:
            self._finish(pending.popleft())
        if self.closed:
            return
        if self._out:
            if deferred.can_wait and not self._draining:
                self._server.write_later(self)
            else:
                self._write_out()
        if self._draining and not pending:
            self.close()
        elif self._blocked:
            self._unblock_soon()

    def on_order_settled(self, deferred: Deferred) -> None:
        if self._pending and self._pending[-1] is deferred:
            self._exclusive = False
            if self._blocked:
                self._unblock_soon()

    def _finish(self, deferred: Deferred) -> None:
        if deferred.failure is not None:
            self._violate(deferred.failure)
        elif deferred.answer is not None:
            self._send(deferred.answer)

    def _violate(self, violation: CloseConnection) -> None:
        self._server.violation(self, violation.reason)
        self.close()

    # Output -----------------------------------------------------------------------------------------

    def _send(self, answer: Answer) -> None:
        """Queue an answer for the write at the end of this callback; large ones go at once, piece by piece."""
        if self.connection.mute_ms:
            self.mute()
        if isinstance(answer, bytes):
            size = len(answer)
            self.connection.bytes_out_total += size
            self._out.append(answer)
            self._out_bytes += size
        else:
            assert answer is not None
            size = sum(map(len, answer))
            self.connection.bytes_out_total += size
            if size > JOINED_ANSWER_BYTES_MAX:
                self._write_out()
                if self._transport is not None:
                    self._written_bytes = size
                    self._transport.writelines(answer)
                return
            self._out += answer
            self._out_bytes += size
        if self._out_bytes > JOINED_ANSWER_BYTES_MAX:
            self._write_out()

    def write_out(self) -> None:
        """What waited for others to be answered first."""
        if self._out:
            self._write_out()

    def _write_out(self) -> None:
        out = self._out
        if out and self._transport is not None:
            self._written_bytes = self._out_bytes
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        self._out_bytes = 0

    def pause_writing(self) -> None:
        """What was written last stays in memory whole until its last byte is taken, so all of it counts."""
        self._write_paused = True
        if self._transport is not None:
            self._note_unsent(max(self._transport.get_write_buffer_size(), self._written_bytes))

    def resume_writing(self) -> None:
        self._write_paused = False
        self._note_unsent(0)
        self._unblock_soon()

    def _note_unsent(self, size: int) -> None:
        """What peers have not taken is counted for all connections together."""
        before, self._unsent = self._unsent, size
        self._server.unsent_changed(self, before, size)

    def drop_unsent(self) -> None:
        """The peer has not read for longest and there is too much of this. Nobody reads the rest: end it."""
        self._note_unsent(0)
        self.abort("answers are not read")
