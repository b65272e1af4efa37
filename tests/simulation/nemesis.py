"""The faults of one run: which, when, for how long, decided by the seed alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Literal, TypeAlias

from broker.app import Broker
from broker.cluster.reassignment import Reassignment
from broker.errors import KafkaError
from broker.metadata.store import StoreError
from tests.simulation.cluster import BROKERS, Cluster, host_of
from tests.simulation.history import Partition
from tests.simulation.network import STORE

Power: TypeAlias = Literal["stays", "fails", "fails once"]
PAUSE_SECONDS = (0.05, 1.2)
"""Between two faults."""
FAULT_SECONDS = (0.1, 4.0)
"""How long one lasts."""


class Nemesis:
    def __init__(self, cluster: Cluster, random: Random, partitions: Sequence[Partition], *, power: Power) -> None:
        """``power``: whether it fails, and then disks may fail, too; or once only, for one machine, which is what a cluster
        that does not flush has to survive."""
        self._cluster = cluster
        self._random = random
        self._partitions = partitions
        self._power = power
        self._healing: list[asyncio.Task[None]] = []

    async def rage(self, seconds: float) -> None:
        """Faults for so long; some of them are still there at the end."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))
            self._healing.append(loop.create_task(self._choose()()))
        for task in self._healing:
            task.cancel()
        for outcome in await asyncio.gather(*self._healing, return_exceptions=True):
            if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
                raise outcome

    def heal(self) -> None:
        """Everything."""
        cluster = self._cluster
        cluster.trace.note("nemesis", "heals everything")
        cluster.network.heal()
        for broker_id in BROKERS:
            cluster.resume(broker_id)
            if cluster.nodes[broker_id].ends:
                cluster.kill(broker_id, power=False, noticed=True)
            cluster.start(broker_id)

    def _choose(self) -> Callable[[], Awaitable[None]]:
        faults: list[Callable[[], Awaitable[None]]] = [
            self._kill,
            self._kill,
            self._kill_several,
            self._stop,
            self._pause,
            self._cut,
            self._cut,
            self._isolate,
            self._break,
            self._elect,
            self._reassign,
        ]
        if self._power == "fails":
            faults += [self._cut_power, self._cut_power, self._cut_all_power, self._fail_disk]
        elif self._power == "fails once":
            faults += [self._cut_power, self._cut_power, self._cut_power]
        return self._random.choice(faults)

    async def _last(self) -> None:
        await asyncio.sleep(self._random.uniform(*FAULT_SECONDS))

    def _one(self) -> int:
        """Whoever leads most is worth most."""
        leaders = [
            broker_id
            for broker_id, broker in self._cluster.brokers().items()
            if any(partition.state.is_leader for partition in broker.partitions.partitions())
        ]
        return self._random.choice(leaders or list(BROKERS))

    # Processes --------------------------------------------------------------------------------------

    async def _kill(self) -> None:
        broker_id = self._one()
        self._cluster.kill(broker_id, power=False, noticed=self._random.random() < 0.7)
        await self._last()
        self._cluster.start(broker_id)

    async def _kill_several(self) -> None:
        for broker_id in self._random.sample(BROKERS, k=self._random.choice((2, 3))):
            self._cluster.kill(broker_id, power=False, noticed=self._random.random() < 0.7)
            await asyncio.sleep(self._random.uniform(0, 0.3))
        await self._last()
        await self._start_all()

    async def _start_all(self) -> None:
        for broker_id in self._random.sample(BROKERS, k=len(BROKERS)):
            self._cluster.start(broker_id)
            await asyncio.sleep(self._random.uniform(0, 1.0))

    async def _stop(self) -> None:
        broker_id = self._one()
        await self._cluster.stop(broker_id)
        await asyncio.sleep(self._random.uniform(0, 1.0))
        self._cluster.start(broker_id)

    async def _pause(self) -> None:
        broker_id = self._one()
        self._cluster.pause(broker_id)
        await self._last()
        self._cluster.resume(broker_id)

    async def _cut_power(self) -> None:
        if self._power == "fails once":
            self._power = "stays"
        broker_id = self._one()
        self._cluster.kill(broker_id, power=True, noticed=self._random.random() < 0.5)
        await self._last()
        self._cluster.start(broker_id)

    async def _cut_all_power(self) -> None:
        for broker_id in BROKERS:
            self._cluster.kill(broker_id, power=True, noticed=True)
        await asyncio.sleep(self._random.uniform(0, 0.5))
        await self._start_all()

    async def _fail_disk(self) -> None:
        broker_id = self._one()
        self._cluster.fail_sync(broker_id)
        await self._last()
        self._cluster.kill(broker_id, power=False, noticed=True)
        self._cluster.start(broker_id)

    # Administration ---------------------------------------------------------------------------------

    async def _elect(self) -> None:
        """Preferred leaders lead again: leadership moves without any fault."""
        self._ask(lambda broker: broker.cluster.elect_leaders(None, unclean=False))

    async def _reassign(self) -> None:
        """A partition moves to other replicas, fewer perhaps, in another order."""
        topic, partition = self._random.choice(self._partitions)
        replicas = self._random.sample(BROKERS, k=self._random.choice((2, 3, 3)))
        move = Reassignment(topic=topic, partition=partition, replicas=replicas)
        self._cluster.trace.note("nemesis", f"moves {topic}-{partition} to {replicas}")
        self._ask(lambda broker: broker.cluster.reassign([move]))

    def _ask(self, request: Callable[[Broker], Awaitable[object]]) -> None:
        serving = [node for node in self._cluster.nodes.values() if node.broker is not None]
        if serving:
            node = self._random.choice(serving)
            assert node.process is not None
            assert node.broker is not None
            self._cluster.loop.run_in(node.process, _administer(node.broker, request))

    # Network ----------------------------------------------------------------------------------------

    async def _cut(self) -> None:
        """One way only."""
        source, target = self._random.sample([STORE, *map(host_of, BROKERS)], k=2)
        self._cluster.trace.note("nemesis", f"cuts {source} > {target}")
        self._cluster.network.cut(source, target)
        await self._last()
        self._heal_network()

    async def _isolate(self) -> None:
        """One broker from the others, and perhaps from the store; clients reach it."""
        host = host_of(self._one())
        others = [host_of(broker_id) for broker_id in BROKERS if host_of(broker_id) != host]
        if self._random.random() < 0.6:
            others.append(STORE)
        self._cluster.trace.note("nemesis", f"isolates {host} from {others}")
        for other in others:
            self._cluster.network.cut(host, other)
            self._cluster.network.cut(other, host)
        await self._last()
        self._heal_network()

    def _heal_network(self) -> None:
        self._cluster.trace.note("nemesis", "heals the network")
        self._cluster.network.heal()

    async def _break(self) -> None:
        for _ in range(self._random.randint(1, 4)):
            self._cluster.network.break_one()


async def _administer(broker: Broker, request: Callable[[Broker], Awaitable[object]]) -> None:
    """An admin request that may fail like any other."""
    with contextlib.suppress(KafkaError, StoreError):
        await request(broker)
