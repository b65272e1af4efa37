"""Three real brokers on simulated machines, and what can be done to them.

Owns the lives of the brokers: each start makes a new ``Process`` with a new ``broker.app.Broker`` on the disk the one
before left, as a supervisor would, and a start that fails is tried again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random

from broker.app import Broker, CannotStart
from broker.config.broker import BrokerConfig
from broker.errors import KafkaError
from broker.metadata.store import StoreError
from tests.metadata.memory import MemoryCluster
from tests.simulation.disk import Disk
from tests.simulation.history import History
from tests.simulation.loop import OUTSIDE, Process, VirtualLoop
from tests.simulation.machine import SimulatedMachine, VirtualClock
from tests.simulation.network import Network
from tests.simulation.trace import Trace

BROKERS = (1, 2, 3)
PORT = 9092
RESTART_SECONDS = 0.5
CONFIG = {
    "OTTLA_BROKER_SESSION_TIMEOUT_MS": "2000",
    "OTTLA_BROKER_HEARTBEAT_INTERVAL_MS": "300",
    "OTTLA_REPLICA_LAG_TIME_MAX_MS": "1500",
    "OTTLA_REPLICA_FETCH_WAIT_MAX_MS": "300",
    "OTTLA_REPLICA_SOCKET_TIMEOUT_MS": "2000",
    "OTTLA_REQUEST_TIMEOUT_MS": "2000",
    "OTTLA_MIN_INSYNC_REPLICAS": "2",
    "OTTLA_DEFAULT_REPLICATION_FACTOR": "3",
    "OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS": "2",
    "OTTLA_OFFSETS_TOPIC_REPLICATION_FACTOR": "3",
    "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "2",
    "OTTLA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "3",
    "OTTLA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "OTTLA_LOG_FLUSH_OFFSET_CHECKPOINT_INTERVAL_MS": "2000",
    "OTTLA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "1000",
    "OTTLA_GROUP_CONSUMER_SESSION_TIMEOUT_MS": "3000",
    "OTTLA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS": "1000",
    "OTTLA_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS": "400",
    "OTTLA_GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS": "100",
    "OTTLA_LOG_DIRS": "/log",
    "OTTLA_HOME": "/home",
}


def host_of(broker_id: int) -> str:
    return f"10.0.0.{broker_id}"


class Node:
    """One broker's machine, through all its lives."""

    def __init__(self, broker_id: int, random: Random) -> None:
        self.id = broker_id
        self.host = host_of(broker_id)
        self.disk = Disk(Random(random.random()))
        self.random = Random(random.random())
        self.process: Process | None = None
        self.broker: Broker | None = None
        """Set once it serves."""
        self.machine: SimulatedMachine | None = None
        self.wanted = True
        """Whether it is started again when it ends by itself."""
        self.lost_writes = False
        """A sync failed: what the page cache has is not what a restart will find."""
        self.stopping = False
        self.lives = 0

    @property
    def running(self) -> bool:
        return self.process is not None

    @property
    def ends(self) -> bool:
        """It serves no more, or not for long: only a restart helps."""
        return self.lost_writes or self.stopping


class Cluster:
    def __init__(
        self, loop: VirtualLoop, network: Network, random: Random, trace: Trace, history: History, **config: str
    ) -> None:
        self.loop = loop
        self.network = network
        self.trace = trace
        self.history = history
        self.store = MemoryCluster(clock=VirtualClock(loop))
        self.nodes = {broker_id: Node(broker_id, random) for broker_id in BROKERS}
        self._config: Mapping[str, str] = CONFIG | config

    @property
    def bootstrap(self) -> list[str]:
        return [f"{node.host}:{PORT}" for node in self.nodes.values()]

    # Lives ------------------------------------------------------------------------------------------

    def start(self, broker_id: int) -> None:
        node = self.nodes[broker_id]
        node.wanted = True
        if node.running:
            return
        if node.lost_writes:
            node.lost_writes = False
            node.disk.cut_power()
        node.lives += 1
        process = node.process = Process(f"broker-{broker_id}.{node.lives}", node.host)
        self.trace.note(process.name, "starts")
        machine = node.machine = SimulatedMachine(
            self.loop, self.network, self.store, node.disk, node.host, Random(node.random.random())
        )
        self.loop.run_in(process, self._live(node, process, machine))

    async def _live(self, node: Node, process: Process, machine: SimulatedMachine) -> None:
        config = BrokerConfig.from_environment({**self._config, "OTTLA_KAFKA": f"{node.host}:{PORT}"}, node_id=node.id)
        try:
            broker = Broker(config, self.loop, machine)
            await broker.start()
        except (CannotStart, KafkaError, StoreError, OSError) as error:
            self.trace.note(process.name, f"could not start: {error!r}")
            # From outside: this process ends with what it has begun.
            self.loop.call_later(RESTART_SECONDS, self._restart, node, process, context=OUTSIDE)
            return
        node.broker = broker
        self.trace.note(process.name, "ready")

    def _restart(self, node: Node, process: Process) -> None:
        if node.process is process:
            self.kill(node.id, power=False, noticed=True)
            self.start(node.id)

    def kill(self, broker_id: int, *, power: bool, noticed: bool) -> None:
        """``power``: of the machine, else only the process. ``noticed``: others need not wait for its session to run out."""
        node = self.nodes[broker_id]
        process, machine = node.process, node.machine
        node.wanted = False
        if process is None or machine is None:
            return
        self.trace.note(process.name, "loses power" if power else "is killed")
        process.dead = True
        self.network.kill(process, silently=power)
        if hasattr(machine, "store"):
            machine.store.die(noticed=noticed)
        node.disk.kill()
        if power:
            # Where one machine alone lost something, nobody reads anything else than before.
            self.history.trust_reads = self.history.trust_reads and self._config["OTTLA_ACK_DURABILITY"] == "os"
            node.disk.cut_power()
        node.process = node.broker = node.machine = None
        node.stopping = False

    async def stop(self, broker_id: int) -> None:
        """In order, as SIGTERM does."""
        node = self.nodes[broker_id]
        broker, process = node.broker, node.process
        if broker is None or process is None:
            self.kill(broker_id, power=False, noticed=True)
            return
        self.trace.note(process.name, "stops")
        node.stopping = True
        stopping = self.loop.run_in(process, broker.stop())
        deadline = self.loop.time() + 15
        while not stopping.done() and not process.dead and self.loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        if node.process is process:
            self.kill(broker_id, power=False, noticed=True)

    def pause(self, broker_id: int) -> None:
        process = self.nodes[broker_id].process
        if process is not None:
            self.trace.note(process.name, "is paused")
            process.paused = True

    def resume(self, broker_id: int) -> None:
        process = self.nodes[broker_id].process
        if process is not None and process.paused:
            self.trace.note(process.name, "goes on")
            self.loop.resume(process)

    def fail_sync(self, broker_id: int) -> None:
        node = self.nodes[broker_id]
        if node.process is not None:
            self.trace.note(node.process.name, "cannot sync any more")
            node.lost_writes = True
            self.history.trust_reads = False
            node.disk.fail("sync")

    # Facts ------------------------------------------------------------------------------------------

    def brokers(self) -> dict[int, Broker]:
        """Those that serve."""
        return {node.id: node.broker for node in self.nodes.values() if node.broker is not None}
