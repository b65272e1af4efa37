"""What deletes and elects in the background, at the worst moment: rows 17, 32 and 35."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from broker.protocol.private import RetentionAction
from broker.retention.plan import plan
from tests.faults import faults_of_brokers as faults
from tests.faults.checker.check import check_directory
from tests.faults.clusters import SESSION_SECONDS, three_brokers
from tests.faults.load import Load
from tests.faults.nemeses.disks import MEBIBYTE
from tests.faults.stage import Stage
from tests.faults.workloads.worker import Options
from tests.support.cluster_process import ClusterProcess
from tests.support.installation import Installation
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]


class Retention(threading.Thread):
    """What workers do, without one: plans for every broker, each carried out at once, then again when it is stale."""

    def __init__(self, cluster: ClusterProcess) -> None:
        super().__init__(daemon=True)
        self.deletions = 0
        self._cluster = cluster
        self._ended = threading.Event()
        self._stale: dict[int, list[RetentionAction]] = {}

    def run(self) -> None:
        while not self._ended.wait(0.3):
            for broker in self._cluster.brokers:
                try:
                    self._round(broker)
                except (KafkaError, ClientConnectionError):
                    # It is down, or not the leader any more: the next round finds out.
                    continue

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _round(self, broker: int) -> None:
        process = self._cluster.brokers[broker]
        address = f"{process.host}:{process.internal_port}"
        with Client(address, process.cluster_secret, request_timeout_seconds=3) as client:
            inventory = client.segment_inventory()
            actions = [deletion.action() for deletion in plan(inventory.partitions, time.time_ns() // 1_000_000)]
            for due in (actions, self._stale.get(broker, [])):
                if due:
                    outcomes = client.apply_retention(due)
                    self.deletions += sum(outcome.deleted_segments for outcome in outcomes)
            self._stale[broker] = actions


def test_retention_races_readers_and_changes_of_leaders_and_brings_nothing_back(tmp_path: Path) -> None:
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        topic = stage.topic("t", 2, segment_bytes=str(MEBIBYTE), retention_bytes=str(MEBIBYTE))
        stage.observe()
        stage.writes(topic, size=40_000, rate=15)
        retention = Retention(cluster)
        retention.start()
        try:
            wait_until(lambda: retention.deletions >= 1, "segments go", seconds=60)
            faults.kill_the_leader(stage, topic)
            faults.hang_the_leader(stage, topic, 1)
            goal = retention.deletions + 1
            wait_until(lambda: retention.deletions >= goal, "segments go again", seconds=60)
        finally:
            retention.stop()
        stage.judge()


@pytest.mark.nightly
def test_an_unclean_election_loses_what_it_must_and_says_so(tmp_path: Path) -> None:
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        topic = stage.topic("t", 1, min_insync_replicas="1", unclean_leader_election_enable="true")
        stage.load("confluent", topic)
        stage.wait_progress(100)
        leader = cluster.leader(topic)
        others = [broker for broker in cluster.brokers if broker != leader]
        with stage.fault("the only replica in sync dies, and the topic allows anybody to lead"):
            for broker in others:
                cluster.kill(broker)
            cluster.wait_isr(topic, brokers=[leader])
            stage.wait_progress(100)
            cluster.kill(leader)
            for broker in others:
                cluster.brokers[broker].start()
            cluster.wait_leader(topic, other_than=leader)
            stage.wait_progress(100)
            assert "unclean" in cluster.output, "the controller does not say what it has done"
            cluster.start(leader)
        report = stage.report()
        assert report.failures.keys() & {"lost write", "inconsistent offset"}, "nothing was lost: what was this about?"


@contextlib.contextmanager
def held_by_another_process(metadata: Path) -> Iterator[None]:
    connection = sqlite3.connect(metadata, isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_writers_do_not_notice_that_another_process_holds_the_metadata(tmp_path: Path) -> None:
    """For longer than sessions last: nobody can renew one, so nobody's counts as lost."""
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        topic = stage.topic("t", 6)
        stage.everyday_load(topic)
        epochs = faults.leader_epochs(stage, topic)
        with (
            stage.fault("another process holds the metadata"),
            held_by_another_process(cluster.home / "metadata.sqlite3"),
        ):
            stage.let_it_last(SESSION_SECONDS + 2)
            stage.wait_progress(50)
        stage.wait_progress(50)
        assert faults.leader_epochs(stage, topic) == epochs, "somebody was deposed"
        stage.judge()


@pytest.mark.nightly
def test_a_leader_that_dies_while_the_metadata_are_held_is_replaced_when_they_are_not(tmp_path: Path) -> None:
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        topic, sink = stage.topic("t", 3), stage.topic("sink", 3)
        stage.observe()
        stage.load("confluent", topic, rate=50)
        stage.copies(topic, sink)
        stage.wait_progress(50)
        for _ in range(3):
            victim = cluster.leader(topic)
            with stage.fault(f"broker {victim} dies, and the metadata are held"):
                with held_by_another_process(cluster.home / "metadata.sqlite3"):
                    cluster.kill(victim)
                    stage.let_it_last(SESSION_SECONDS + 2)
                faults.assert_a_leader_follows(stage, topic, 0, victim)
                cluster.start(victim)
            faults.wait_in_sync(stage)
            stage.wait_progress(50)
        stage.judge()


def kill_redis(ottla: Installation) -> Callable[[], None]:
    ottla.kill_service("redis")
    return lambda: None


def lock_the_database(ottla: Installation) -> Callable[[], None]:
    connection = sqlite3.connect(ottla.home / "db.sqlite3", isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    return connection.close


@pytest.mark.nightly
@pytest.mark.parametrize("lose", [kill_redis, lock_the_database], ids=lambda lose: lose.__name__)
def test_brokers_do_not_notice_the_loss_of_what_the_dashboard_needs(
    tmp_path: Path, lose: Callable[[Installation], Callable[[], None]]
) -> None:
    history = tmp_path / "history"
    history.mkdir()
    ottla = Installation(tmp_path / "home")
    ottla.start()
    try:
        with Client(ottla.bootstrap) as client:
            client.create_topic("t", 3, -1)
        options = Options(bootstrap=ottla.bootstrap, directory=str(history), topic="t", partitions=3)
        loads = [Load("confluent", options), Load("aiokafka", Options(**{**_fields(options), "first_writer": 10}))]
        wait_until(lambda: all(load.done > 200 for load in loads), "writing goes on", seconds=60)
        give_back = lose(ottla)
        goals = [load.done + 1_000 for load in loads]
        wait_until(
            lambda: all(load.done > goal for load, goal in zip(loads, goals, strict=True)), "it still does", seconds=60
        )
        give_back()
        for load in loads:
            load.finish()
    finally:
        ottla.stop()
    report = check_directory(history)
    assert not report.failures, report.text()
    assert report.figures["longest time a partition was not written, seconds"] < 5


def _fields(options: Options) -> dict[str, object]:
    return {name: getattr(options, name) for name in options.__struct_fields__}
