"""The machine below one simulated broker: its clock, its disk, its way to the metadata store, its flush threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from broker.config.broker import BrokerConfig
from broker.machine import Machine
from broker.metadata.store import StoreUnavailable, Transaction
from broker.partition.flush import Flushable, FlushScheduler, _Round
from tests.metadata.memory import MemoryCluster, MemoryStore
from tests.simulation.disk import Disk
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import STORE, FakeSocket, Network

if TYPE_CHECKING:
    from broker.clock import Clock
    from broker.storage.flush_ticket import FlushTicket

WALL_MS = 1_700_000_000_000
STORE_TIMEOUT_SECONDS = 1.0
STORE_SECONDS = (0.0002, 0.004)
WATCH_SLOW_ONE_IN = 8
WATCH_SLOW_SECONDS_MAX = 0.4
"""News of the metadata reaches each broker in its own time: leaders hear late that they are none."""
SYNC_SECONDS = (0.0002, 0.003)
SYNC_SLOW_ONE_IN = 30
SYNC_SLOW_SECONDS_MAX = 0.2


class VirtualClock:
    def __init__(self, loop: VirtualLoop, skew_ms: int = 0) -> None:
        self._loop = loop
        self._skew_ms = skew_ms

    def wall_ms(self) -> int:
        return WALL_MS + self._skew_ms + int(self._loop.time() * 1_000)

    def monotonic(self) -> float:
        return self._loop.time()


class SimulatedFlushScheduler(FlushScheduler):
    """Rounds run in a callback some time later. Whether the process lives that long is another question."""

    def __init__(self, loop: VirtualLoop, random: Random, *, on_failed: Callable[[str], None]) -> None:
        self._random = random
        super().__init__(loop, on_failed=on_failed)

    def _grow_to(self, count: int) -> None:
        """There are no threads."""

    def _share_out(self, tickets: list[tuple[Flushable, FlushTicket]]) -> None:
        self._loop.call_later(self._delay(), self._sync, _Round(tickets, 1))

    def _sync(self, round_: _Round) -> None:
        try:
            for _, ticket in round_.tickets:
                ticket.run()
        except OSError as error:
            round_.failure = str(error)
        self._loop.call_later(self._delay(), self._finish, round_)

    def _delay(self) -> float:
        if self._random.randrange(SYNC_SLOW_ONE_IN) == 0:
            return self._random.uniform(0, SYNC_SLOW_SECONDS_MAX)
        return self._random.uniform(*SYNC_SECONDS)


class RemoteStore(MemoryStore):
    """One broker's way to the store: it takes time, and may be cut in either direction. An answer that is lost leaves the
    broker in doubt whether its commit happened."""

    def __init__(self, cluster: MemoryCluster, network: Network, host: str, random: Random) -> None:
        super().__init__(cluster)
        self._network = network
        self._host = host
        self._random = random

    def die(self, *, noticed: bool) -> None:
        """The process is gone. Unless that is noticed, its sessions stay until they run out."""
        held = [session for session in self._cluster.sessions.values() if session.holder is self]
        self.kill()
        if not noticed:
            for session in held:
                session.holder = self

    async def _turn(self) -> None:
        await self._way(self._host, STORE)
        await super()._turn()

    async def commit(self, transaction: Transaction) -> int:
        revision = await super().commit(transaction)
        await self._way(STORE, self._host)
        return revision

    async def open_session(self, name: str, timeout_ms: int) -> str:
        session = await super().open_session(name, timeout_ms)
        try:
            await self._way(STORE, self._host)
        except StoreUnavailable:
            # As the real adapters do: nobody knows this session, so it must not keep its name.
            self._cluster.end(session)
            self._cluster.names.pop(name, None)
            raise
        return session

    async def watch(self, after_revision: int) -> Any:
        async for commit in super().watch(after_revision):
            if self._random.randrange(WATCH_SLOW_ONE_IN) == 0:
                await asyncio.sleep(self._random.uniform(0, WATCH_SLOW_SECONDS_MAX))
            yield commit

    async def _way(self, source: str, target: str) -> None:
        await asyncio.sleep(self._random.uniform(*STORE_SECONDS))
        try:
            async with asyncio.timeout(STORE_TIMEOUT_SECONDS):
                while self._network.is_cut(source, target):
                    await self._network.wait_healed()
        except TimeoutError:
            raise StoreUnavailable("no answer") from None


class SimulatedMachine(Machine):
    def __init__(
        self, loop: VirtualLoop, network: Network, cluster: MemoryCluster, disk: Disk, host: str, random: Random
    ) -> None:
        self.clock: Clock = VirtualClock(loop, skew_ms=random.randint(-50, 50))
        self.filesystem = disk.filesystem
        self.random = Random(random.random())
        self.store: RemoteStore
        self._network = network
        self._cluster = cluster
        self._host = host
        self._boots = disk.boots

    def boot_id(self) -> str:
        return f"{self._host}-{self._boots}"

    def cluster_secret(self, config: BrokerConfig) -> bytes:
        return b"s" * 32

    def bind(self, host: str, port: int) -> Any:
        if (host, port) in self._network.listeners:
            raise OSError(98, f"{host}:{port} is taken")
        return FakeSocket(host, port)

    def metadata_store(self, config: BrokerConfig) -> RemoteStore:
        self.store = RemoteStore(self._cluster, self._network, self._host, Random(self.random.random()))
        return self.store

    def flush_scheduler(self, loop: Any, *, on_failed: Callable[[str], None]) -> FlushScheduler:
        return SimulatedFlushScheduler(loop, Random(self.random.random()), on_failed=on_failed)
