"""The network: connections between simulated processes, with everything that connections do to those who trust them.

Bytes of one connection arrive whole, once and in order, as with TCP; anything may happen between connections. A cut from
one host to another holds back what goes that way: it arrives some time after the cut has healed, even if its sender has
long given the connection up and asked again on another. That is how requests get lost, late, doubled and out of order in
reality, and it happens one way at a time. Connections are also broken at random, and delays vary from message to message.

Processes meet it as ``create_connection`` and ``create_server`` of the loop; transports speak to the very protocols of
the broker.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from tests.simulation.loop import CURRENT, Process, VirtualLoop
from tests.simulation.trace import Trace

DELAY_SECONDS = (0.0001, 0.002)
SLOW_ONE_IN = 50
"""So many messages take up to ``SLOW_SECONDS_MAX``."""
SLOW_SECONDS_MAX = 0.15
REFUSED_SECONDS = 0.001
RETRANSMISSION_SECONDS_MAX = 2.0
"""After a cut has healed, until what was held back by it arrives."""
STORE = "store"
"""The host of the metadata store."""


class FakeSocket:
    """As much of a socket as is asked for: an address, and options that change nothing."""

    family = socket.AF_INET

    def __init__(self, host: str, port: int) -> None:
        self._name = (host, port)

    def getsockname(self) -> tuple[str, int]:
        return self._name

    def setsockopt(self, *options: object) -> None:
        """Nothing is slow enough here for a buffer's size to matter."""

    def close(self) -> None:
        """It holds nothing."""


class Transport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, network: Network, process: Process, protocol: Any, name: tuple[str, int]) -> None:
        super().__init__()
        self.network = network
        self.process = process
        self.protocol = protocol
        self.peer: Transport
        self.ended = False
        """This end is closed; nothing is sent or received here."""
        self.due = 0.0
        """Nothing sent later arrives at the peer before this."""
        self.held_back: list[Callable[[], None]] = []
        """What a cut keeps from the peer."""
        self._name = name
        self._reading = True
        self._received: deque[bytes] = deque()

    # asyncio.Transport ------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "socket":
            return FakeSocket(*self._name)
        if name == "peername":
            return self.peer._name
        return default

    def is_closing(self) -> bool:
        return self.ended

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Everything is taken at once."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None:
        if not self.ended and data:
            self.network.send(self, bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        if self._received:
            self.network.loop.call_soon(self._take, context=self.process.context)

    def is_reading(self) -> bool:
        return self._reading

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(None)

    # The network's side -----------------------------------------------------------------------------

    def _end(self, error: Exception | None) -> None:
        """Close this end; the other one hears of it behind what was sent before."""
        if self.ended:
            return
        self.network.hang_up(self)
        self.lose(error)

    def lose(self, error: Exception | None) -> None:
        if not self.ended:
            self.ended = True
            self.network.connections.pop(self, None)
            self.network.loop.call_soon(self.protocol.connection_lost, error, context=self.process.context)

    def receive(self, data: bytes) -> None:
        if not self.ended:
            self._received.append(data)
            self._take()

    def _take(self) -> None:
        while self._received and self._reading and not self.ended:
            self._hand_on(self._received.popleft())

    def _hand_on(self, data: bytes) -> None:
        protocol = self.protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            protocol.data_received(data)
            return
        at = 0
        while at < len(data) and not self.ended:
            buffer = protocol.get_buffer(-1)
            size = min(len(buffer), len(data) - at)
            buffer[:size] = data[at : at + size]
            at += size
            protocol.buffer_updated(size)
            if not self._reading and at < len(data):
                self._received.appendleft(data[at:])
                return


class Listener:
    """What ``create_server`` returns."""

    def __init__(self, network: Network, process: Process, address: tuple[str, int], new_protocol: Any) -> None:
        self.process = process
        self.new_protocol = new_protocol
        self._network = network
        self._address = address

    def close(self) -> None:
        if self._network.listeners.get(self._address) is self:
            del self._network.listeners[self._address]


class Network:
    def __init__(self, loop: VirtualLoop, random: Random, trace: Trace) -> None:
        self.loop = loop
        self.listeners: dict[tuple[str, int], Listener] = {}
        self.connections: dict[Transport, None] = {}
        self._random = random
        self._trace = trace
        self._cuts: dict[tuple[str, str], None] = {}
        """(from, to)"""
        self._healed = asyncio.Event()
        self._ports = 40_000

    # Opening ----------------------------------------------------------------------------------------

    def listen(self, new_protocol: Any, bound: FakeSocket) -> Listener:
        process = _running()
        address = bound.getsockname()
        listener = self.listeners[address] = Listener(self, process, address, new_protocol)
        return listener

    async def connect(self, new_protocol: Any, host: str, port: int) -> tuple[Transport, Any]:
        source = _running()
        await asyncio.sleep(self._delay())
        while self.is_cut(source.host, host) or self.is_cut(host, source.host):
            await self.wait_healed()
        await asyncio.sleep(self._delay())
        listener = self.listeners.get((host, port))
        if listener is None or listener.process.dead:
            await asyncio.sleep(REFUSED_SECONDS)
            raise ConnectionRefusedError(111, f"nobody listens on {host}:{port}")
        self._ports += 1
        near = Transport(self, source, new_protocol(), (source.host, self._ports))
        far = Transport(self, listener.process, listener.new_protocol(), (host, port))
        near.peer, far.peer = far, near
        self.connections[near] = self.connections[far] = None
        self.loop.call_soon(far.protocol.connection_made, far, context=far.process.context)
        near.protocol.connection_made(near)
        return near, near.protocol

    # Carrying ---------------------------------------------------------------------------------------

    def send(self, sender: Transport, data: bytes) -> None:
        self._trace.count(sender.process.host, sender.peer.process.host, len(data))
        self._carry(sender, lambda: sender.peer.receive(data))

    def hang_up(self, sender: Transport) -> None:
        self._carry(sender, lambda: sender.peer.lose(ConnectionResetError("closed by the peer")))

    def _carry(self, sender: Transport, arrive: Callable[[], None]) -> None:
        sender.due = max(sender.due + 1e-6, self.loop.time() + self._delay())

        def arrived() -> None:
            if sender.held_back or self.is_cut(sender.process.host, sender.peer.process.host):
                sender.held_back.append(arrive)
            else:
                arrive()

        self.loop.call_at(sender.due, arrived, context=sender.peer.process.context)

    def _delay(self) -> float:
        if self._random.randrange(SLOW_ONE_IN) == 0:
            return self._random.uniform(0, SLOW_SECONDS_MAX)
        return self._random.uniform(*DELAY_SECONDS)

    # Faults -----------------------------------------------------------------------------------------

    def is_cut(self, source: str, target: str) -> bool:
        return (source, target) in self._cuts

    async def wait_healed(self) -> None:
        await self._healed.wait()

    def cut(self, source: str, target: str) -> None:
        self._cuts[source, target] = None

    def heal(self) -> None:
        """All cuts. What they held back comes in its own time, from each connection in order."""
        self._cuts.clear()
        self._healed.set()
        self._healed = asyncio.Event()
        for sender in tuple(self._held_back()):
            late = self._random.uniform(0, RETRANSMISSION_SECONDS_MAX)
            self.loop.call_later(late, self._release, sender, context=sender.peer.process.context)

    def _held_back(self) -> list[Transport]:
        return [sender for sender in self._everybody if sender.held_back]

    @property
    def _everybody(self) -> list[Transport]:
        return list(dict.fromkeys(end for near in self.connections for end in (near, near.peer)))

    def _release(self, sender: Transport) -> None:
        held_back, sender.held_back = sender.held_back, []
        for arrive in held_back:
            arrive()

    def break_one(self) -> None:
        """A connection, no matter whose, is gone with whatever was on its way."""
        if self.connections:
            chosen = self._random.choice(list(self.connections))
            for end in (chosen, chosen.peer):
                end.lose(ConnectionResetError("broken"))

    def end(self) -> None:
        """The story is over: what still holds a transport may throw it away."""
        for sender in self._everybody:
            sender.ended = True

    def kill(self, process: Process, *, silently: bool) -> None:
        """Its ends are gone. The others hear of it, unless the whole machine is gone, too."""
        for address, listener in list(self.listeners.items()):
            if listener.process is process:
                del self.listeners[address]
        for end in list(self.connections):
            if end.process is process:
                if not silently:
                    self.hang_up(end)
                end.ended = True
                del self.connections[end]


def _running() -> Process:
    process = CURRENT.get()
    assert process is not None, "only processes use the network"
    return process
