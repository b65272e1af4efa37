"""Brokers that die while their logs are compacted, with writers of few keys: row 31 on real processes."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.compaction.plan import plan
from broker.errors import KafkaError
from broker.jobs.compaction_pace import Pace
from broker.jobs.compaction_partition import compact_partition
from broker.storage.filesystem import RealFileSystem
from tests.faults import faults_of_brokers as faults
from tests.faults.clusters import one_broker, three_brokers
from tests.faults.nemeses.disks import MEBIBYTE
from tests.faults.nemeses.syscalls import Injection
from tests.faults.stage import Stage
from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

TOPIC = "keyed"


class Compaction(threading.Thread):
    """What workers do, without one: compact every broker's logs, again and again, whatever becomes of it."""

    def __init__(self, cluster: ClusterProcess) -> None:
        super().__init__(daemon=True)
        self.replaced = 0
        self._cluster = cluster
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.3):
            for broker in self._cluster.brokers:
                # A broker that is down, or dies under it, is the point of the exercise.
                with contextlib.suppress(KafkaError, ClientConnectionError, OSError):
                    self._round(broker)

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _round(self, broker: int) -> None:
        process = self._cluster.brokers[broker]
        address = f"{process.host}:{process.internal_port}"
        with Client(address, process.cluster_secret, request_timeout_seconds=5) as client:
            inventory = client.compaction_inventory([TOPIC])
            for due in plan(inventory.partitions, inventory.sampled_at_ms, on_demand=True):
                pace = Pace(bytes_per_second_max=float("inf"), seconds_max=60)
                outcome = compact_partition(client, RealFileSystem(), inventory, due, pace)
                self.replaced += outcome.segments_replaced


@contextlib.contextmanager
def compacting(stage: Stage):
    stage.topic(
        TOPIC,
        2,
        cleanup_policy="compact",
        segment_bytes=str(MEBIBYTE),
        min_cleanable_dirty_ratio="0.01",
        delete_retention_ms="0",
    )
    stage.expect(compacted=frozenset({TOPIC}))
    stage.load("keyed", TOPIC, size=20_000, rate=40)
    compaction = Compaction(stage.cluster)
    compaction.start()
    try:
        yield compaction
    finally:
        compaction.stop()


def die_at(tmp_path: Path, rules: dict[str, str]) -> None:
    with one_broker(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        with compacting(stage) as compaction:
            wait_until(lambda: compaction.replaced, "segments are replaced", seconds=60)
            for what, rule in rules.items():
                process = cluster.brokers[1]
                with stage.fault(what), Injection(process.pid, f"{rule}"):
                    wait_until(lambda process=process: not process.alive, what, seconds=60)  # type: ignore[misc]
                cluster.start(1)
                stage.wait_progress(20)
            goal = compaction.replaced + 1
            wait_until(lambda: compaction.replaced >= goal, "compaction goes on", seconds=60)
        stage.judge()


def test_no_key_is_lost_or_comes_back_when_a_broker_dies_in_the_middle_of_a_swap(tmp_path: Path) -> None:
    die_at(tmp_path, {"SIGKILL at the second rename": "rename:signal=SIGKILL:when=2"})


@pytest.mark.nightly
@pytest.mark.timeout(900)
@pytest.mark.parametrize("call", ["rename", "unlink", "fsync", "fdatasync"])
def test_no_key_is_lost_or_comes_back_wherever_a_broker_dies(tmp_path: Path, call: str) -> None:
    rules = {f"SIGKILL at {call} number {place}": f"{call}:signal=SIGKILL:when={place}" for place in (1, 2, 3, 4, 6)}
    die_at(tmp_path, rules)


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_replicas_compacted_by_themselves_agree_after_their_leaders_died(tmp_path: Path) -> None:
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        with compacting(stage) as compaction:
            for partition in (0, 1, 0):
                goal = compaction.replaced + 2
                wait_until(lambda goal=goal: compaction.replaced >= goal, "segments are replaced", seconds=90)  # type: ignore[misc]
                faults.kill_the_leader(stage, TOPIC, partition)
        stage.judge()
