"""The harness is worth what it finds: five well-known mistakes are put into real brokers, and each has to be found.

Each scenario is a sequence of events that hurts a broker with the mistake and none without. It is run with the switch on,
when the checker has to name what is lost, and off, when it has to have nothing to say. ``broker/faultpoints.py`` says
what each switch does.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker import faultpoints
from tests.faults.checker.verdict import Report
from tests.faults.clusters import one_broker, three_brokers
from tests.faults.faults_of_brokers import wait_in_sync
from tests.faults.hand_writer import HandWriter
from tests.faults.nemeses.damage import copy_over
from tests.faults.nemeses.disks import lose_power, small_disk
from tests.faults.stage import Stage

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

TOPIC = "t"
DISK_MIB = 48
PATIENT = {
    # Who is paused is not given up before the test says so.
    "OTTLA_BROKER_SESSION_TIMEOUT_MS": "30000",
    "OTTLA_REPLICA_LAG_TIME_MAX_MS": "60000",
    # What a broker that is killed finds on its disk is as old as its start.
    "OTTLA_LOG_FLUSH_OFFSET_CHECKPOINT_INTERVAL_MS": "600000",
}


def power_fails_after_an_acknowledgement(tmp_path: Path, **faulty: str) -> Report:
    home, image = tmp_path / "home", tmp_path / "disk.img"
    disk = home / "broker-1"
    with (
        small_disk(disk, image, mebibytes=DISK_MIB, journal=True),
        one_broker(home, OTTLA_DISK_FREE_FLOOR_BYTES="0", **faulty) as cluster,
        Stage(tmp_path, cluster) as stage,
        hand_writer(stage) as writer,
    ):
        writer.write(cluster.brokers[1], 20)
        cluster.kill(1)
        lose_power(disk, image)
        cluster.start(1)
        return stage.report_of_files()


def a_follower_comes_back_and_its_leader_dies_before_it_answers(tmp_path: Path, **faulty: str) -> Report:
    with (
        three_brokers(tmp_path / "home", **PATIENT, **faulty) as cluster,
        Stage(tmp_path, cluster) as stage,
    ):
        stage.topic(TOPIC, 3)
        wait_in_sync(stage)
        # Those who come back need a controller, or they would wait until their leader is given up.
        partition = next(index for index in range(3) if cluster.leader(TOPIC, index) != cluster.controller())
        leader = cluster.leader(TOPIC, partition)
        followers = [broker for broker in cluster.brokers if broker != leader]
        with hand_writer(stage, partition=partition) as writer:
            writer.write(cluster.brokers[leader], 20)
        cluster.pause(leader)
        for broker in followers:
            cluster.kill(broker)
        for broker in followers:
            cluster.brokers[broker].launch()
        for broker in followers:
            cluster.brokers[broker].wait_ready()
        cluster.kill(leader)
        successor = cluster.wait_leader(TOPIC, partition, other_than=leader)
        with hand_writer(stage, "another", partition=partition) as another:
            another.write(cluster.brokers[successor])
        cluster.start(leader)
        wait_in_sync(stage)
        return stage.report_of_files()


def a_leader_dies_with_records_that_nobody_else_has(tmp_path: Path, **faulty: str) -> Report:
    with (
        three_brokers(tmp_path / "home", **PATIENT, **faulty) as cluster,
        Stage(tmp_path, cluster) as stage,
        hand_writer(stage) as writer,
    ):
        leader = cluster.leader(TOPIC)
        followers = [broker for broker in cluster.brokers if broker != leader]
        writer.write(cluster.brokers[leader], 5)
        for broker in followers:
            cluster.pause(broker)
        writer.write_to_one(cluster.brokers[leader], 5)
        cluster.kill(leader)
        for broker in followers:
            cluster.resume(broker)
        successor = cluster.wait_leader(TOPIC, other_than=leader)
        with hand_writer(stage, "another") as another:
            another.write(cluster.brokers[successor], 20)
        cluster.start(leader)
        wait_in_sync(stage)
        return stage.report_of_files()


def a_leader_dies_before_a_producer_hears_of_its_record(tmp_path: Path, **faulty: str) -> Report:
    with (
        three_brokers(tmp_path / "home", **faulty) as cluster,
        Stage(tmp_path, cluster) as stage,
        hand_writer(stage) as writer,
    ):
        leader = cluster.leader(TOPIC)
        writer.write(cluster.brokers[leader], 5)
        with writer.write_unheard(cluster.brokers[leader]) as write_again:
            cluster.kill(leader)
            successor = cluster.wait_leader(TOPIC, other_than=leader)
            write_again(cluster.brokers[successor])
        writer.write(cluster.brokers[successor], 5)
        cluster.start(leader)
        wait_in_sync(stage)
        return stage.report_of_files()


def metadata_are_older_than_a_topic(tmp_path: Path, **faulty: str) -> Report:
    home = tmp_path / "home"
    with one_broker(home, **faulty) as cluster, Stage(tmp_path, cluster) as stage:
        store, backup = home / "metadata.sqlite3", tmp_path / "metadata.backup"
        cluster.stop(1)
        shutil.copyfile(store, backup)
        cluster.start(1)
        with hand_writer(stage) as writer:
            writer.write(cluster.brokers[1], 20)
        cluster.stop(1)
        for leftover in home.glob("metadata.sqlite3-*"):
            leftover.unlink()
        copy_over(backup, store)
        cluster.start(1)
        cluster.stop(1)
        put_back_what_was_set_aside(cluster.brokers[1].data_directory)
        return stage.report_of_files()


def put_back_what_was_set_aside(log_dir: Path) -> None:
    """As an operator would, who has read where it is."""
    for directory in (log_dir / "stray").glob(f"{TOPIC}-0*"):
        directory.rename(log_dir / f"{TOPIC}-0")


@contextlib.contextmanager
def hand_writer(stage: Stage, name: str = "hand-writer", *, partition: int = 0) -> Iterator[HandWriter]:
    """Of the topic, which it makes if need be; everybody is in sync."""
    if TOPIC not in stage.topics:
        stage.topic(TOPIC, 1)
        wait_in_sync(stage)
    writer = HandWriter(stage.directory, TOPIC, partition, name)
    try:
        writer.open(stage.cluster.brokers[stage.cluster.running[0]])
        yield writer
    finally:
        writer.close()


Scenario = Callable[..., Report]

BUGS: dict[str, tuple[Scenario, str]] = {
    "skip_fsync": (power_fails_after_an_acknowledgement, "lost write"),
    "truncate_to_high_watermark": (a_follower_comes_back_and_its_leader_dies_before_it_answers, "lost write"),
    "ignore_leader_epoch": (a_leader_dies_with_records_that_nobody_else_has, "divergent replicas"),
    "drop_producer_state": (a_leader_dies_before_a_producer_hears_of_its_record, "duplicate"),
    "delete_stray": (metadata_are_older_than_a_topic, "lost write"),
}
"""By switch: what happens, and what the checker then has to find."""


def test_every_switch_has_a_scenario() -> None:
    assert set(BUGS) == faultpoints.NAMES


@pytest.mark.parametrize("switch", BUGS)
def test_a_bug_is_found(tmp_path: Path, switch: str) -> None:
    scenario, anomaly = BUGS[switch]
    report = scenario(tmp_path, **{faultpoints.VARIABLE: switch})
    assert anomaly in report.failures, report.text()


@pytest.mark.parametrize("switch", BUGS)
def test_nothing_is_found_without_it(tmp_path: Path, switch: str) -> None:
    scenario, _ = BUGS[switch]
    report = scenario(tmp_path)
    assert not report.failures, report.text()
    assert report.figures["writes acknowledged"] > 0
