"""A cluster of real broker processes for tests: one home, the embedded metadata store, each broker killed or paused alone.

Owns the processes. What a test asks of the cluster (who leads, who is in sync) is asked of the brokers over the wire, each
for itself, because they may disagree for a moment: the ``wait_…`` methods return when all who run say the same.

At the end of a test every replica's files are verified, and compared with the others' below the high watermark.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from broker.client.metadata import read_metadata
from broker.client.results import ClusterMetadata, PartitionMetadata
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.replicas import assert_replicas_agree, log_end, replicas_of
from tests.support.topics import create_topic
from tests.support.wait import wait_until

AGREEMENT_SECONDS_MAX = 30.0
"""For a new leader, an in-sync set or a controller, on a machine with other work: session timeout and then some."""
QUICK = {
    "OTTLA_BROKER_SESSION_TIMEOUT_MS": "4000",
    "OTTLA_BROKER_HEARTBEAT_INTERVAL_MS": "500",
}
"""A paused broker is given up after this long. One that is killed is noticed at the next heartbeat of another."""
UNREACHABLE = (OSError, EOFError)


class ClusterProcess:
    """``with ClusterProcess(tmp_path) as cluster: ... cluster.kill(cluster.leader(topic))``.

    ``environment`` is for all brokers, ``of_broker[2]`` for broker 2 alone: ``{1: {"OTTLA_BROKER_RACK": "a"}}``.
    """

    def __init__(
        self,
        home: Path,
        brokers: int = 3,
        *,
        sound: bool = True,
        of_broker: Mapping[int, Mapping[str, str]] | None = None,
        machines: Mapping[int, tuple[str, Sequence[str]]] | None = None,
        **environment: str,
    ) -> None:
        """``sound=False``: the test damages files on purpose; otherwise they are verified when it is over.

        ``machines``: the address of each broker, and the command that runs it there; by default all run here.
        """
        self.home = Path(home)
        self._sound = sound
        own = of_broker or {}
        here = ("127.0.0.1", ())
        self.brokers = {
            broker_id: BrokerProcess(
                self.home,
                node_id=broker_id,
                host=(machines or {}).get(broker_id, here)[0],
                prefix=(machines or {}).get(broker_id, here)[1],
                **{**QUICK, **environment, **dict(own.get(broker_id, {}))},
            )
            for broker_id in range(1, brokers + 1)
        }
        self.cut_off: set[int] = set()
        """Those a test has taken off the network: they run, and are not asked."""
        self._paused: set[int] = set()
        self._killed: set[int] = set()
        """Not started again since: their last write may be torn."""

    def __enter__(self) -> ClusterProcess:
        try:
            self.start_all()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped_in_order = self.close()
        if error is None and self._sound:
            assert stopped_in_order, f"a broker did not stop in order:\n{self.output}"
            self.verify()

    # Life -------------------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Every broker that does not run, at once; returns when all of them know each other."""
        stopped = [broker_id for broker_id, broker in self.brokers.items() if not broker.alive]
        for broker_id in stopped:
            self.brokers[broker_id].launch()
        for broker_id in stopped:
            self._killed.discard(broker_id)
            self.brokers[broker_id].wait_ready()
        self.wait_brokers()

    def start(self, broker_id: int) -> None:
        """Returns when it is ready, and all who run know it."""
        self.brokers[broker_id].start()
        self._killed.discard(broker_id)
        self.wait_brokers()

    def stop(self, broker_id: int) -> int:
        """SIGTERM; the exit status."""
        return self.brokers[broker_id].stop()

    def kill(self, broker_id: int) -> None:
        """kill -9."""
        self.brokers[broker_id].kill()
        self._paused.discard(broker_id)
        self._killed.add(broker_id)

    def pause(self, broker_id: int) -> None:
        self.brokers[broker_id].pause()
        self._paused.add(broker_id)

    def resume(self, broker_id: int) -> None:
        self.brokers[broker_id].resume()
        self._paused.discard(broker_id)

    def close(self) -> bool:
        """Leave no process behind. True if everyone who ran stopped in order."""
        for broker_id in sorted(self._paused):
            self.resume(broker_id)
        running = [broker for broker in self.brokers.values() if broker.alive]
        for broker in running:
            broker.terminate()
        in_order = [broker.wait_stopped() for broker in running]
        return all(in_order)

    # Addresses --------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """All brokers, running or not."""
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    @property
    def cluster_secret(self) -> bytes:
        return self.brokers[1].cluster_secret

    @property
    def running(self) -> list[int]:
        return [i for i, broker in self.brokers.items() if broker.alive and i not in self._paused | self.cut_off]

    @property
    def output(self) -> str:
        return "\n".join(f"--- broker {i}\n{broker.output}" for i, broker in self.brokers.items())

    # Asking -----------------------------------------------------------------------------------------

    def metadata(self, broker_id: int, topic: str | None = None) -> ClusterMetadata:
        """As this broker sees it; all topics unless one is named."""
        request = m.MetadataRequest
        topics = None if topic is None else [request.MetadataRequestTopic(name=topic)]
        with self.brokers[broker_id].wire() as wire:
            return read_metadata(
                wire.call(ApiKey.METADATA, 12, request(topics=topics, allow_auto_topic_creation=False))
            )

    def partition(self, topic: str, partition: int = 0) -> PartitionMetadata:
        """As the broker sees it that knows of the latest leader."""
        return max(self._views(topic, partition).values(), key=lambda view: view.leader_epoch)

    def leader(self, topic: str, partition: int = 0) -> int:
        """-1: none."""
        return self.partition(topic, partition).leader

    def controller(self) -> int:
        """As all who run see it."""
        return self.wait_controller()

    def coordinator(self, key: str, *, transactional: bool = False) -> int:
        """Of a group, or of a transactional id: when all who run name the same broker, and it runs."""
        request = m.FindCoordinatorRequest(key_type=int(transactional), coordinator_keys=[key])

        def named() -> int:
            seen = set()
            for broker_id in self.running:
                with self.brokers[broker_id].wire(timeout=AGREEMENT_SECONDS_MAX) as wire:
                    (found,) = wire.call(ApiKey.FIND_COORDINATOR, 4, request).coordinators
                seen.add(-1 if found.error_code else found.node_id)
            return seen.pop() if len(seen) == 1 and seen <= set(self.running) else 0

        return wait_until(named, f"all name the same coordinator of {key}", seconds=AGREEMENT_SECONDS_MAX)

    def wait_brokers(self) -> None:
        """Everyone who runs is known to everyone who runs."""

        def known() -> bool:
            running = set(self.running)
            return all(
                running <= {broker.id for broker in self.metadata(broker_id).cluster.brokers} for broker_id in running
            )

        wait_until(known, "the brokers know each other", seconds=AGREEMENT_SECONDS_MAX)

    def wait_gone(self, broker_id: int) -> None:
        """Nobody who runs counts this broker as live any more."""
        wait_until(
            lambda: all(
                broker_id not in [broker.id for broker in self.metadata(other).cluster.brokers]
                for other in self.running
            ),
            f"broker {broker_id} is given up",
            seconds=AGREEMENT_SECONDS_MAX,
        )

    def wait_controller(self, *, other_than: int | None = None) -> int:
        def agreed() -> int:
            seen = {self.metadata(broker_id).cluster.controller_id for broker_id in self.running}
            return seen.pop() if len(seen) == 1 and seen <= set(self.running) - {other_than} else 0

        return wait_until(agreed, "all see the same controller", seconds=AGREEMENT_SECONDS_MAX)

    def wait_leader(self, topic: str, partition: int = 0, *, other_than: int | None = None) -> int:
        """The leader, when all who run see the same one and it runs."""

        def agreed() -> int:
            seen = {view.leader for view in self._views(topic, partition).values()}
            return seen.pop() if len(seen) == 1 and seen <= set(self.running) - {other_than} else 0

        return wait_until(agreed, f"all see the same leader of {topic}-{partition}", seconds=AGREEMENT_SECONDS_MAX)

    def wait_isr(
        self,
        topic: str,
        partition: int = 0,
        brokers: Collection[int] | None = None,
        *,
        seconds: float = AGREEMENT_SECONDS_MAX,
    ) -> None:
        """All who run see this in-sync set, by default: all replicas."""

        def agreed() -> bool:
            views = self._views(topic, partition).values()
            return bool(views) and all(
                set(view.isr) == set(view.replicas if brokers is None else brokers) for view in views
            )

        wait_until(agreed, f"{brokers or 'all replicas'} are in sync for {topic}-{partition}", seconds=seconds)

    def create_topic(self, *, partitions: int = 1, replication_factor: int | None = None, **configs: str) -> str:
        """A topic no other test uses, on all brokers unless said otherwise; ``min_insync_replicas="2"`` as elsewhere."""
        factor = len(self.brokers) if replication_factor is None else replication_factor
        with self.brokers[self.running[0]].wire(timeout=AGREEMENT_SECONDS_MAX) as wire:
            return create_topic(wire, partitions=partitions, replication_factor=factor, **configs)

    # Files ------------------------------------------------------------------------------------------

    def replica_directories(self, topic: str, partition: int = 0) -> dict[int, Path]:
        name = f"{topic}-{partition}"
        return replicas_of({i: broker.data_directory for i, broker in self.brokers.items()}).get(name, {})

    def replicas_agree(self, topic: str, partition: int = 0, *, high_watermark: int) -> None:
        """Wait until all replicas have everything below the watermark, and compare it byte by byte."""
        directories = self.replica_directories(topic, partition)
        wait_until(
            lambda: all(log_end(directory) >= high_watermark for directory in directories.values()),
            f"all replicas of {topic}-{partition} have everything below {high_watermark}",
            seconds=AGREEMENT_SECONDS_MAX,
        )
        assert_replicas_agree(directories, high_watermark)

    def verify(self) -> None:
        """Nobody runs any more: every log is sound, and replicas have the same below the high watermark."""
        for broker_id, broker in self.brokers.items():
            broker.assert_sound(torn_tails_allowed=broker_id in self._killed)
        for directories in replicas_of({i: broker.data_directory for i, broker in self.brokers.items()}).values():
            assert_replicas_agree(directories)

    def _views(self, topic: str, partition: int) -> dict[int, PartitionMetadata]:
        """By broker: those who run, answer, and know the partition."""
        views = {}
        for broker_id in self.running:
            try:
                (found,) = self.metadata(broker_id, topic).topics
            except UNREACHABLE:
                continue
            for state in found.partitions:
                if state.partition == partition:
                    views[broker_id] = state
        return views
