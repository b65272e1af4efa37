"""One run: a seed, a cluster, its clients, faults, healing, and the verdict.

The story is always the same. Topics are made and clients begin; faults come for a while; everything is healed; then, in
bounded virtual time, all brokers have to be back, all replicas in sync, every client done. Last the logs are judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from broker.errors import KafkaError
from broker.protocol.batch import scan_batches
from broker.protocol.records import iter_records
from tests.simulation.clients import Client, IdempotentProducer, Reader
from tests.simulation.cluster import BROKERS, Cluster
from tests.simulation.copiers import Copier, Copies
from tests.simulation.history import History, Partition
from tests.simulation.loop import START_SECONDS, Stuck, VirtualLoop, thrown_away
from tests.simulation.members import Claims, Member
from tests.simulation.nemesis import Nemesis, Power
from tests.simulation.network import Network
from tests.simulation.observer import Observer
from tests.simulation.randomness import seeded
from tests.simulation.trace import Trace

FAULTS_SECONDS = (6.0, 14.0)
CONVERGE_SECONDS = 60.0
"""After healing, until everything has to be well: virtual time."""
INPUT: list[Partition] = [("orders", 0), ("orders", 1)]
OUTPUT: list[Partition] = [("copies", 0), ("copies", 1)]
PRODUCERS = 3
MEMBERS = 3
BATCHES = 60
"""Of each producer to each partition; fewer if the faults end before."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    seed: int
    violations: list[str]
    digest: int
    virtual_seconds: float
    callbacks: int
    messages: int
    acknowledged: int
    copied: int
    trace: str

    def report(self) -> str:
        lines = [
            f"seed {self.seed}: {len(self.violations)} violations after {self.virtual_seconds:.1f} virtual seconds",
            *self.violations[:10],
            "",
            "the last events:",
            self.trace,
            "",
            f"again: SIMULATION_SEED={self.seed} .venv/bin/pytest tests/simulation -k repeat_a_seed",
        ]
        return "\n".join(lines)


class Simulation:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self.loop = VirtualLoop(Random(random.random()))
        self.trace = Trace(self.loop.time)
        self.network = self.loop.network = Network(self.loop, Random(random.random()), self.trace)
        self.history = History()
        self.power: Power = random.choice(("stays", "stays", "fails", "fails", "fails once"))
        durability = "os" if self.power == "fails once" else "flush"
        self.cluster = Cluster(
            self.loop,
            self.network,
            Random(random.random()),
            self.trace,
            self.history,
            OTTLA_ACK_DURABILITY=durability,
        )
        self.observer = Observer(self.cluster, self.history)
        self.nemesis = Nemesis(self.cluster, Random(random.random()), [*INPUT, *OUTPUT], power=self.power)
        self.copies = Copies()
        self.claims = Claims(self.history)
        self.copiers: list[Copier] = []
        self.clients: list[Client] = []
        self.clients_made = 0
        self.loop.set_exception_handler(self._on_fault)

    def _on_fault(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.history.violate(f"a fault of our own: {context['message']}: {error!r}")

    def run(self, story: Coroutine[Any, Any, None]) -> None:
        with _told_to(self.trace), seeded(Random(self.seed)):
            try:
                self.loop.run_until_complete(story)
            except (Stuck, KafkaError, AssertionError) as failure:
                self.history.violate(f"{type(failure).__name__}: {failure}")
            finally:
                self.trace.ended = True
                self.network.end()
                self.trace.faults += self.loop.end()

    def run_briefly(self) -> None:
        """Three brokers start, and that is all."""

        async def story() -> None:
            for broker_id in BROKERS:
                self.cluster.start(broker_id)
            await self._until(self._is_well, "all brokers are there")

        self.run(story())

    def outcome(self) -> Outcome:
        return Outcome(
            seed=self.seed,
            violations=[*self.history.violations, *(f"a fault of our own: {fault}" for fault in self.trace.faults)],
            digest=self.trace.digest,
            virtual_seconds=self.loop.time() - START_SECONDS,
            callbacks=self.loop.handles_run,
            messages=self.trace.messages,
            acknowledged=sum(map(len, self.history.acknowledged.values())),
            copied=len(self.copies.committed),
            trace=self.trace.text(),
        )

    # The story --------------------------------------------------------------------------------------

    async def play(self) -> None:
        for broker_id in BROKERS:
            self.cluster.start(broker_id)
        watching = self.loop.create_task(self.observer.watch())
        await self._until(self._is_well, "all brokers are there")
        await self._make_topics()
        working = self._begin_work()
        copying = self._begin_copying() if self.random.random() < 0.6 else []
        await self.nemesis.rage(self.random.uniform(*FAULTS_SECONDS))
        self.nemesis.heal()
        for client in self.clients:
            client.stopping = True
        await self._until(self._is_well, "all brokers are back and all replicas in sync")
        await self._finish(working, "all clients are done")
        for copier in self.copiers:
            copier.end = self._leader(copier.source).log.log_end_offset
        await self._finish(copying, "everything is copied")
        await self._until(self._replicas_are_even, "all replicas have everything, and no transaction is open")
        watching.cancel()
        self.observer.look()
        self.observer.compare(whole=True)
        await self._judge()

    def _begin_work(self) -> list[asyncio.Task[Any]]:
        clients: list[Any] = [
            self._client(IdempotentProducer, f"producer-{number}", partitions=INPUT, batches=BATCHES)
            for number in range(PRODUCERS)
        ]
        clients += [self._client(Reader, f"reader-{index}", partition=source) for index, source in enumerate(INPUT)]
        if self.random.random() < 0.5:
            clients += [
                self._client(Member, f"member-{number}", topic="orders", group="members", claims=self.claims)
                for number in range(MEMBERS)
            ]
        self.clients = clients
        return [self._run(client, client.run()) for client in clients]

    def _begin_copying(self) -> list[asyncio.Task[Any]]:
        self.copiers = [
            self._client(
                Copier, f"copier-{source[1]}", source=source, outputs=OUTPUT, group="copiers", copies=self.copies
            )
            for source in INPUT
        ]
        readers = [
            self._client(Reader, f"reader-of-copies-{output[1]}", partition=output, committed=True) for output in OUTPUT
        ]
        self.clients += readers
        copying = [self._run(copier, copier.run()) for copier in self.copiers]
        return copying + [self._run(reader, reader.run()) for reader in readers]

    async def _finish(self, tasks: list[asyncio.Task[Any]], what: str) -> None:
        await self._until(lambda: all(task.done() for task in tasks), what)
        for task in tasks:
            task.result()

    def _client(self, kind: type[Any], name: str, **options: Any) -> Any:
        self.clients_made += 1
        return kind(name, self.clients_made, self.cluster, self.history, Random(self.random.random()), **options)

    def _run(self, client: Client, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.loop.run_in(client.process, work)

    async def _make_topics(self) -> None:
        client = self._client(Client, "maker")
        # The bound of segment.bytes is far above what is written here; tests may go below it.
        configs = {"internal.segment.bytes": "3000"} if self.random.random() < 0.5 else {}

        async def make() -> None:
            for topic in ("orders", "copies"):
                await client.persist(lambda topic=topic: client.client.topics.create(topic, 2, 3, configs))
            await client.close()

        await self._finish([self._run(client, make())], "the topics are made")

    async def _until(self, condition: Any, what: str) -> None:
        deadline = self.loop.time() + CONVERGE_SECONDS
        while not condition():
            if self.loop.time() > deadline:
                raise Stuck(f"{CONVERGE_SECONDS:.0f} s after everything was healed it is not true that {what}")
            await asyncio.sleep(0.05)

    def _is_well(self) -> bool:
        brokers = self.cluster.brokers()
        if len(brokers) < len(BROKERS):
            return False
        image = brokers[BROKERS[0]].cluster.image
        return (
            all(broker.cluster.image.revision == self.cluster.store.revision for broker in brokers.values())
            and len(image.brokers) == len(BROKERS)
            and all(
                set(partition.isr) == set(partition.replicas) and partition.leader >= 0 and not partition.adding
                for topic in image.topics_by_id.values()
                for partition in topic.partitions
            )
        )

    def _replicas_are_even(self) -> bool:
        ends: dict[str, set[int]] = {}
        for broker in self.cluster.brokers().values():
            for partition in broker.partitions.partitions():
                found = ends.setdefault(str(partition.topic_partition), set())
                found.update((partition.log.log_end_offset, partition.high_watermark, partition.last_stable_offset))
        return all(len(found) == 1 for found in ends.values())

    def _leader(self, partition: Partition) -> Any:
        return next(
            found
            for broker in self.cluster.brokers().values()
            if (found := broker.partitions.find(*partition)) is not None and found.state.is_leader
        )

    async def _judge(self) -> None:
        inputs: dict[int, list[bytes]] = {}
        for partition in INPUT:
            records = contents(self._leader(partition))
            inputs[partition[1]] = [value for _, value in records]
            self.history.judge_log(partition, records)
        if self.copiers:
            judge = self._client(Client, "judge")
            outputs: dict[Partition, list[tuple[int, bytes]]] = {}
            reading = self._run(judge, read_committed(judge, outputs))
            await self._finish([reading], "the copies can be read")
            for partition, records in outputs.items():
                self.history.judge_reads(partition, records)
            values = {partition: [value for _, value in records] for partition, records in outputs.items()}
            self.copies.judge(self.history, values, inputs, "orders")


async def read_committed(client: Client, found: dict[Partition, list[tuple[int, bytes]]]) -> None:
    for topic, index in OUTPUT:
        records = found[topic, index] = []
        offset, end = 0, 1
        while offset < end:
            answer = await client.persist(
                lambda topic=topic, index=index, offset=offset: client.client.reader.fetch(
                    topic, index, offset, max_wait_ms=0, read_committed=True
                )
            )
            records += [(record.offset, record.value or b"") for record in answer.records]
            offset, end = answer.next_offset, answer.last_stable_offset
    await client.close()


def contents(partition: Any) -> list[tuple[int, bytes]]:
    """(offset, value) of all data in a log."""
    log = partition.log
    offset, found = log.log_start_offset, []
    while offset < log.log_end_offset:
        whole = memoryview(b"".join(log.read(offset, 1 << 20, upto_offset=log.log_end_offset, empty_alone=True)))
        for at, header in scan_batches(whole):
            if not header.is_control:
                found += [(r.offset, r.value or b"") for r in iter_records(whole[at : at + header.size])]
            offset = header.next_offset
    return found


@contextlib.contextmanager
def _told_to(trace: Trace) -> Iterator[None]:
    """What brokers log goes into the trace and nowhere else."""
    logger = logging.getLogger("broker")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(trace)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(trace)
        logger.setLevel(level)
        logger.propagate = propagate


def simulate(seed: int) -> Outcome:
    """Never raises for what a broker did: that is in the outcome."""
    simulation = Simulation(seed)
    simulation.run(simulation.play())
    outcome = simulation.outcome()
    with thrown_away():
        del simulation
        gc.collect()
    return outcome
