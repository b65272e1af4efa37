"""The listeners of one broker process and what its connections share.

Owns: accepting, the connection limits, the coarse timer for idle, slow and unauthenticated connections, and the
graceful drain at the end. One bad connection never harms another: every fault ends exactly one session.
Times are counted in ticks of ``TICK_SECONDS``, so that no connection costs a timer or a clock read.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from broker import limits
from broker.config.definition import INT_MAX
from broker.handlers.context import ConnectionInfo
from broker.handlers.reply import Reply
from broker.network.frames import FrameMemory
from broker.network.looks import describe
from broker.network.session import Session
from broker.protocol.private import ConnectionEntry

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
PREAUTH_TICKS_MAX = 10
"""Seconds a connection of the internal listener may take to prove that it knows the secret."""
CLOSING_TICKS_MAX = 30
"""Seconds a peer may take for its last answers once we are done with it."""
INCOMPLETE_FRAME_TICKS_MAX = 60
INCOMPLETE_FRAME_BYTES_PER_TICK = 64 * limits.KIB
"""A frame may take a minute, and more only if it is so large that a slow but honest peer needs it."""
LISTEN_BACKLOG = 1_024
INTERNAL_SEND_BUFFER_BYTES = 256 * limits.KIB
"""SO_SNDBUF of brokers' connections unless ``socket.send.buffer.bytes`` says otherwise. What the system would let it grow to
holds megabytes that have left the processor's cache when the follower reads them: copying costs twice the time."""


class RequestPipeline(Protocol):
    """What a session needs of ``handlers/pipeline.py``."""

    def handle(self, frame: memoryview, connection: ConnectionInfo) -> Reply:
        """One frame in, one reply out; the frame is used up on return. Raises ``CloseConnection``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    frame_bytes_max: int = limits.FRAME_BYTES_MAX
    connections_max: int = limits.CONNECTIONS_MAX
    connections_per_address_max: int = limits.CONNECTIONS_PER_ADDRESS_MAX
    connections_per_address_overrides: Mapping[str, int] = field(default_factory=dict)
    """Address → its own limit."""
    idle_ms_max: int = limits.CONNECTION_IDLE_MS
    creation_rate_max: int = INT_MAX
    """New client connections a second."""
    send_buffer_bytes: int = -1
    receive_buffer_bytes: int = -1
    request_bytes_max: int = -1
    """Memory of requests on their way or waiting, all connections together; -1 is the default of ``frames.py``."""
    listen_backlog: int = LISTEN_BACKLOG


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatistics:
    connections: int
    accepted_total: int
    refused_total: int
    """Turned away by ``max.connections``, its per-address twin or ``max.connection.creation.rate``."""
    stalled_total: int
    """Ended because they did not read while too much lay unsent."""
    violations_total: int
    """Connections ended because of what the peer sent, or did not send in time."""
    idle_closed_total: int
    unsent_bytes: int
    """Answers that slow readers have not taken."""
    incomplete_bytes: int
    """Memory owned by requests that have not arrived completely."""


class AcceptPace:
    """``max.connection.creation.rate``: a second's worth at once, then one after the other."""

    __slots__ = ("_free_at", "rate")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._free_at = 0.0

    def delay(self, now: float) -> float | None:
        """Seconds until the turn of a connection that comes now; ``None`` when that is too far away."""
        if self.rate >= INT_MAX:
            return 0.0
        free_at = max(self._free_at, now - 1) + 1 / self.rate
        if free_at - now > limits.ACCEPT_DELAY_SECONDS_MAX:
            return None
        self._free_at = free_at
        return max(0.0, free_at - now)


class Server:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pipeline: RequestPipeline,
        settings: ServerSettings,
        *,
        after_input: Callable[[], None] = lambda: None,
        on_unsent: Callable[[int], None] = lambda unsent_bytes: None,
    ) -> None:
        """``after_input`` runs when a session has handed on everything one read brought; ``on_unsent`` is told how
        many bytes slow readers leave lying here, all connections together, whenever that changes."""
        self.loop = loop
        self.pipeline = pipeline
        self.memory = FrameMemory()
        self.frame_bytes_max = settings.frame_bytes_max
        self.after_input = after_input
        self.tick = 0
        self.unsent_bytes = 0
        self._on_unsent = on_unsent
        self._pace = AcceptPace(INT_MAX)
        self.configure(settings)
        self._unwritten: list[Session] = []
        """Those with acknowledgements that leave when everything else this input caused has left."""
        self._stalled: dict[Session, None] = {}
        """Connections whose peer does not take what is written, the longest first."""
        self._clients = 0
        self._sessions: dict[int, Session] = {}
        """By connection id, which grows: in the order they were accepted."""
        self._per_address: dict[str, int] = {}
        self._listeners: list[asyncio.AbstractServer] = []
        self._timer: asyncio.TimerHandle | None = None
        self._accepted_total = 0
        self._refused_total = 0
        self._stalled_total = 0
        self._violations_total = 0
        self._idle_closed_total = 0
        self._all_lost: asyncio.Future[None] | None = None

    def configure(self, settings: ServerSettings) -> None:
        """New limits, for connections to come; none that is open is closed."""
        self._settings = settings
        self.frame_bytes_max = settings.frame_bytes_max
        self.memory.limit(settings.request_bytes_max, least=settings.frame_bytes_max)
        if settings.creation_rate_max != self._pace.rate:
            self._pace = AcceptPace(settings.creation_rate_max)

    # Listening --------------------------------------------------------------------------------------

    async def listen(self, bound: socket.socket, listener: str) -> None:
        """Serve ``listener`` ("client" or "internal") on a socket of ``bind``."""
        server = await self.loop.create_server(
            lambda: Session(self, listener), sock=bound, backlog=self._settings.listen_backlog
        )
        self._listeners.append(server)
        if self._timer is None:
            self._timer = self.loop.call_later(TICK_SECONDS, self._on_tick)

    def stop_accepting(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()

    async def stop(self, *, deadline_seconds: float) -> None:
        """Answer what is pending, close everything; whatever is left at the deadline is aborted."""
        self.stop_accepting()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for session in tuple(self._sessions.values()):
            session.drain()
        if self._sessions:
            self._all_lost = self.loop.create_future()
            await asyncio.wait([self._all_lost], timeout=deadline_seconds)
        for session in tuple(self._sessions.values()):
            session.abort("the broker stops")
        await asyncio.sleep(0)

    # Called by handlers -----------------------------------------------------------------------------

    def page(
        self, *, after: int, limit: int, now_ms: int, wanted: Callable[[ConnectionInfo], bool]
    ) -> tuple[list[ConnectionEntry], int]:
        found = [session for session in self._sessions.values() if wanted(session.connection)]
        rest = (session for session in found if session.connection.connection_id > after)
        now = self.loop.time()
        page = [
            describe(
                session,
                now=now,
                now_ms=now_ms,
                age_ms=self._milliseconds_since(session.opened_tick),
                idle_ms=self._milliseconds_since(session.active_tick),
            )
            for session in itertools.islice(rest, limit)
        ]
        return page, len(found)

    def disconnect(self, connection_id: int) -> bool:
        session = self._sessions.get(connection_id)
        if session is None:
            return False
        session.disconnect()
        return True

    def hold(self, byte_count: int) -> None:
        self.memory.hold(byte_count)

    def let_go(self, byte_count: int) -> None:
        self.memory.let_go(byte_count)

    def _milliseconds_since(self, tick: int) -> int:
        return int((self.tick - tick) * TICK_SECONDS * 1_000)

    # Called by sessions -----------------------------------------------------------------------------

    def opened(self, session: Session, transport: asyncio.Transport) -> None:
        """Register a new connection, or turn it away."""
        peer = transport.get_extra_info("peername") or ("", 0)
        connection = session.connection
        connection.peer_host, connection.peer_port = str(peer[0]), int(peer[1])
        self._accepted_total += 1
        connection.connection_id = self._accepted_total
        self._sessions[connection.connection_id] = session
        from_address = self._per_address.get(connection.peer_host, 0) + 1
        self._per_address[connection.peer_host] = from_address
        if connection.listener == "client":
            self._clients += 1
            delay_seconds = self._admit(connection.peer_host, from_address)
            if delay_seconds is None:
                self._refused_total += 1
                session.closed = True
                transport.abort()
                return
            if delay_seconds:
                connection.mute_ms = round(delay_seconds * 1_000)
                session.mute()
        self._set_options(transport, connection.listener)

    def _admit(self, host: str, from_address: int) -> float | None:
        """Seconds until a new client is served; ``None`` when it is turned away. Brokers and collectors always are
        admitted: clients must not be able to cut a broker off."""
        settings = self._settings
        allowed = settings.connections_per_address_overrides.get(host, settings.connections_per_address_max)
        if self._clients > settings.connections_max or from_address > allowed:
            return None
        return self._pace.delay(self.loop.time())

    def _set_options(self, transport: asyncio.Transport, listener: str) -> None:
        peer_socket = transport.get_extra_info("socket")
        if peer_socket is None or peer_socket.family == socket.AF_UNIX:
            return
        settings = self._settings
        peer_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send_buffer_bytes = settings.send_buffer_bytes
        if send_buffer_bytes <= 0 and listener == "internal":
            send_buffer_bytes = INTERNAL_SEND_BUFFER_BYTES
        if send_buffer_bytes > 0:
            peer_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer_bytes)
        if settings.receive_buffer_bytes > 0:
            peer_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.receive_buffer_bytes)

    def write_later(self, session: Session) -> None:
        """Write what ``session`` has to say when this input is used up, or in the next turn of the loop if there is none."""
        if not self._unwritten:
            self.loop.call_soon(self.write_waiting)
        self._unwritten.append(session)

    def write_waiting(self) -> None:
        if self._unwritten:
            unwritten, self._unwritten = self._unwritten, []
            for session in unwritten:
                session.write_out()

    def lost(self, session: Session) -> None:
        if self._sessions.pop(session.connection.connection_id, None) and session.connection.listener == "client":
            self._clients -= 1
        host = session.connection.peer_host
        remaining = self._per_address.get(host, 1) - 1
        if remaining:
            self._per_address[host] = remaining
        else:
            self._per_address.pop(host, None)
        if not self._sessions and self._all_lost is not None and not self._all_lost.done():
            self._all_lost.set_result(None)

    def unsent_changed(self, session: Session, before: int, now: int) -> None:
        """A peer stopped taking what we write, or took it after all. What lies here is bounded for all together."""
        if now == before:
            return
        self.unsent_bytes += now - before
        if not now:
            self._stalled.pop(session, None)
        elif not before:
            self._stalled[session] = None
        self._on_unsent(self.unsent_bytes)
        if self.unsent_bytes > limits.UNSENT_BYTES_MAX:
            self.loop.call_soon(self._end_stalled)

    def _end_stalled(self) -> None:
        """In a callback of its own: whoever wrote last may be in the middle of it."""
        while self.unsent_bytes > limits.UNSENT_BYTES_MAX and self._stalled:
            session = next(iter(self._stalled))
            self._stalled_total += 1
            session.drop_unsent()

    def violation(self, session: Session, reason: str) -> None:
        self._violations_total += 1
        logger.debug("connection %s ended: %s", session.connection.connection_id, reason)

    # Time -------------------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        self.tick += 1
        self._timer = self.loop.call_later(TICK_SECONDS, self._on_tick)
        idle_ticks_max = self._settings.idle_ms_max / 1_000 / TICK_SECONDS if self._settings.idle_ms_max > 0 else None
        for session in tuple(self._sessions.values()):
            reason = self._overdue(session, idle_ticks_max)
            if reason:
                session.abort(reason)

    def _overdue(self, session: Session, idle_ticks_max: float | None) -> str:
        if session.closed:
            return "last answers not taken" if self.tick - session.active_tick > CLOSING_TICKS_MAX else ""
        since = session.incomplete_since_tick
        if since is not None:
            allowed = INCOMPLETE_FRAME_TICKS_MAX + session.incomplete_bytes // INCOMPLETE_FRAME_BYTES_PER_TICK
            if self.tick - since > allowed:
                return "a frame that does not arrive"
        if session.unproven and self.tick - session.opened_tick > PREAUTH_TICKS_MAX:
            return "no proof of the cluster secret in time"
        if idle_ticks_max is not None and not session.waiting and self.tick - session.active_tick > idle_ticks_max:
            self._idle_closed_total += 1
            return "idle"
        return ""

    def statistics(self) -> ServerStatistics:
        return ServerStatistics(
            connections=len(self._sessions),
            accepted_total=self._accepted_total,
            refused_total=self._refused_total,
            stalled_total=self._stalled_total,
            violations_total=self._violations_total,
            idle_closed_total=self._idle_closed_total,
            unsent_bytes=self.unsent_bytes,
            incomplete_bytes=self.memory.owned_bytes,
        )


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: a taken port is noticed before anything else is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    bound.setblocking(False)
    return bound
