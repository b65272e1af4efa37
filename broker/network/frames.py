"""Memory for received bytes: one shared receive buffer per loop, and buffers for frames that did not fit in it.

Called by ``session.py``, and for requests that wait by the handlers through ``server.py``. What must stay true:
- a connection owns no memory while it has no incomplete frame;
- fresh memory of an incomplete frame ≤ ``max(FRAME_START_BYTES, 2 × GROWTH × bytes really received)``, so a peer that
  only *claims* a large frame owns next to nothing of it;
- incomplete frames, the waiting input of blocked connections and what requests under way keep of theirs, all together,
  are ≤ ``queued.max.request.bytes`` (``REQUEST_BYTES_MAX`` unless it is set); who needs more is turned away;
- a buffer returns to the pool only when no view of it is used any more: requests are consumed synchronously.
"""

from __future__ import annotations

from broker import limits
from broker.handlers.reply import CloseConnection

FRAME_START_BYTES = 8 * limits.KIB
"""An incomplete frame may own this much whatever it has received."""
GROWTH = 8
POOLED_BUFFER_BYTES = limits.MIB + 64 * limits.KIB
"""Fits a producer's usual 1 MB batch with its request around it."""
POOLED_FROM_BYTES = 128 * limits.KIB
"""A buffer that lies ready is used from here on: fresh memory costs more than receiving into it."""
POOLED_BUFFERS_MAX = 4
REQUEST_BYTES_MAX = 1_024 * limits.MIB

assert REQUEST_BYTES_MAX > limits.FRAME_BYTES_MAX


def frame_capacity(frame_bytes: int, received_bytes: int) -> int:
    """How much of a frame to allocate now. ``received_bytes < result ≤ frame_bytes`` unless complete."""
    return min(frame_bytes, max(FRAME_START_BYTES, GROWTH * received_bytes))


class FrameMemory:
    """The shared receive buffer of a loop and a small pool of buffers for large frames."""

    __slots__ = ("_bytes_max", "_free", "owned_bytes", "shared")

    def __init__(self, bytes_max: int = REQUEST_BYTES_MAX) -> None:
        self.shared = memoryview(bytearray(limits.RECEIVE_BUFFER_BYTES))
        self.owned_bytes = 0
        """Of all incomplete frames, waiting input and waiting requests."""
        self._bytes_max = bytes_max
        self._free: list[memoryview] = []

    def limit(self, bytes_max: int, *, least: int) -> None:
        """At most this from now on, -1 for the default; one frame of ``least`` bytes always fits."""
        self._bytes_max = max(bytes_max if bytes_max > 0 else REQUEST_BYTES_MAX, 2 * least)

    def hold(self, size: int) -> None:
        """Count ``size`` bytes that a blocked connection or a waiting request keeps. Raises ``CloseConnection`` like ``acquire``."""
        self._check(size)
        self.owned_bytes += size

    def let_go(self, size: int) -> None:
        self.owned_bytes -= size

    def _check(self, size: int) -> None:
        if self.owned_bytes + size > self._bytes_max:
            raise CloseConnection(f"{self.owned_bytes} bytes of waiting requests are enough")

    def acquire(self, size: int) -> memoryview:
        """At least ``size`` writable bytes with undefined content. Raises ``CloseConnection`` when there is too much
        under way already."""
        self._check(size)
        if POOLED_FROM_BYTES < size <= POOLED_BUFFER_BYTES and self._free:
            buffer = self._free.pop()
        elif POOLED_BUFFER_BYTES // 2 < size <= POOLED_BUFFER_BYTES:
            buffer = memoryview(bytearray(POOLED_BUFFER_BYTES))
        else:
            buffer = memoryview(bytearray(size))
        self.owned_bytes += len(buffer)
        return buffer

    def release(self, buffer: memoryview) -> None:
        self.owned_bytes -= len(buffer)
        if len(buffer) == POOLED_BUFFER_BYTES and len(self._free) < POOLED_BUFFERS_MAX:
            self._free.append(buffer)


class PartialFrame:
    """One frame on its way in: the body behind the length prefix."""

    __slots__ = ("_memory", "buffer", "length", "received", "started_tick")

    def __init__(self, memory: FrameMemory, length: int, head: memoryview, started_tick: int) -> None:
        """Raises ``CloseConnection``, like ``advance``."""
        self._memory = memory
        self.length = length
        self.received = len(head)
        self.started_tick = started_tick
        self.buffer = memory.acquire(frame_capacity(length, len(head)))
        self.buffer[: len(head)] = head

    def tail(self) -> memoryview:
        """Where the next bytes go; never beyond the frame, so that the next read starts with a new frame."""
        return self.buffer[self.received : self.length]

    def advance(self, count: int) -> bool:
        """``count`` more bytes arrived in ``tail()``. True when the frame is complete."""
        self.received += count
        if self.received >= self.length:
            return True
        if self.received == len(self.buffer):
            self._grow()
        return False

    def _grow(self) -> None:
        grown = self._memory.acquire(frame_capacity(self.length, self.received))
        grown[: self.received] = self.buffer
        self._memory.release(self.buffer)
        self.buffer = grown

    def body(self) -> memoryview:
        return self.buffer[: self.length]

    def release(self) -> None:
        self._memory.release(self.buffer)
