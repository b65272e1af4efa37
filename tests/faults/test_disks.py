"""Disks that are full, fail, stall, or end a process at a write: rows 1, 8, 9 and 10."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from broker.client.blocking import Client
from broker.errors import ErrorCode, KafkaError
from tests.faults.clusters import one_broker, three_brokers
from tests.faults.faults_of_brokers import wait_in_sync
from tests.faults.nemeses.disks import MEBIBYTE, fill, lose_power, small_disk
from tests.faults.nemeses.syscalls import Injection
from tests.faults.stage import Stage
from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

STORAGE_MIB = 48


PROBED = "probed"
"""A topic of the tests themselves, outside of the histories."""


def refusal(cluster: ClusterProcess, broker: int = 1) -> str:
    """Why this broker takes no records, as the dashboard is told."""
    process = cluster.brokers[broker]
    with Client(f"127.0.0.1:{process.internal_port}", process.cluster_secret) as client:
        sample = client.telemetry().samples[-1].broker
        return sample.offline_log_dir_reason or sample.produce_refused_reason


def is_refused(client: Client, partition: int = 0) -> bool:
    try:
        client.produce(PROBED, None, b"x" * 100_000, partition=partition)
    except KafkaError as refusal:
        return refusal.code == ErrorCode.KAFKA_STORAGE_ERROR
    return False


def test_a_full_disk_stops_writers_and_nobody_else_until_there_is_space_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    disk = home / "broker-1"
    # No floor: the disk itself has to say that it is full, in the middle of writes.
    with (
        small_disk(disk, tmp_path / "disk.img", mebibytes=STORAGE_MIB),
        one_broker(home, OTTLA_DISK_FREE_FLOOR_BYTES="0") as cluster,
        Stage(tmp_path, cluster) as stage,
        Client(cluster.bootstrap) as client,
    ):
        topic = stage.topic("t", 3)
        client.create_topic(PROBED, 1, 1)
        client.create_topic("useless", 1, 1)
        stage.observe()
        stage.writes(topic, size=2_000)
        stage.wait_progress(50)
        with stage.fault("the disk is full"):
            ballast = fill(disk, leave_bytes=64 * 1024)
            wait_until(lambda: is_refused(client), "writes are refused")
            assert client.fetch(topic, 0, 0).records, "reading goes on"
            client.delete_topic("useless")
            ballast.unlink()
        stage.wait_progress(50)
        stage.judge()


@pytest.mark.nightly
@pytest.mark.parametrize("who", ["a follower", "the leader", "everybody"])
def test_full_disks_among_three_brokers_cost_time_and_no_record(tmp_path: Path, who: str) -> None:
    home = tmp_path / "home"
    with contextlib.ExitStack() as disks:
        at = {
            broker: disks.enter_context(
                small_disk(home / f"broker-{broker}", tmp_path / f"disk-{broker}.img", mebibytes=2 * STORAGE_MIB)
            )
            for broker in (1, 2, 3)
        }
        with three_brokers(home, OTTLA_DISK_FREE_FLOOR_BYTES="0") as cluster, Stage(tmp_path, cluster) as stage:
            topic = stage.topic("t", 1)
            with Client(cluster.bootstrap) as client:
                client.create_topic(PROBED, 3, 3)
            stage.observe()
            stage.writes(topic, size=2_000, rate=25)
            stage.wait_progress(50)
            leader = cluster.leader(topic)
            beside = next(index for index in range(3) if cluster.wait_leader(PROBED, index) == leader)
            follower = next(broker for broker in cluster.brokers if broker != leader)
            full = {"a follower": [follower], "the leader": [leader], "everybody": [1, 2, 3]}[who]
            with stage.fault(f"{who} has a full disk"):
                ballasts = [fill(at[broker], leave_bytes=64 * 1024) for broker in full]
                with Client(cluster.bootstrap) as client:
                    if who == "a follower":
                        cluster.wait_isr(topic, brokers=set(cluster.brokers) - {follower})
                        stage.wait_progress(50)
                    else:
                        wait_until(lambda: is_refused(client, beside), "writes are refused", seconds=60)
                    assert client.fetch(topic, 0, 0).records, "reading goes on"
                for ballast in ballasts:
                    ballast.unlink()
            wait_in_sync(stage)
            stage.wait_progress(50)
            stage.judge()


def test_a_power_failure_takes_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """With a single copy a reader may see what is not on disk yet, and nobody has been promised; so there are none."""
    home, image = tmp_path / "home", tmp_path / "disk.img"
    disk = home / "broker-1"
    with (
        small_disk(disk, image, mebibytes=STORAGE_MIB, journal=True),
        one_broker(home, OTTLA_DISK_FREE_FLOOR_BYTES="0") as cluster,
        Stage(tmp_path, cluster) as stage,
    ):
        topic = stage.topic("t", 3)
        stage.writes(topic, readers=False)
        for number in range(2):
            stage.wait_progress(200)
            with stage.fault(f"power failure {number}"):
                cluster.kill(1)
                lose_power(disk, image)
                cluster.start(1)
        stage.wait_progress(50)
        stage.judge()


def test_after_one_failed_fsync_nothing_is_acknowledged_until_a_restart_has_read_the_disk(tmp_path: Path) -> None:
    with (
        one_broker(tmp_path / "home") as cluster,
        Stage(tmp_path, cluster) as stage,
        Client(cluster.bootstrap) as client,
    ):
        topic = stage.topic("t", 3)
        client.create_topic(PROBED, 1, 1)
        stage.observe()
        stage.writes(topic)
        stage.wait_progress(50)
        with stage.fault("one fdatasync says EIO"):
            with Injection(cluster.brokers[1].pid, "fdatasync:error=EIO:when=1") as injection:
                injection.wait_injected()
            wait_until(lambda: refusal(cluster), "the log directory has failed")
            acknowledged = stage.acknowledged()
            assert all(is_refused(client) for _ in range(20))
            assert stage.acknowledged() == acknowledged, "it went on acknowledging"
            cluster.kill(1)
            cluster.start(1)
        stage.wait_progress(50)
        stage.judge()


@pytest.mark.nightly
def test_leadership_leaves_a_broker_whose_fsync_failed(tmp_path: Path) -> None:
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        topic = stage.topic("t", 3)
        stage.observe()
        stage.writes(topic)
        stage.wait_progress(50)
        victim = cluster.leader(topic)
        with stage.fault(f"one fdatasync of broker {victim} says EIO"):
            with Injection(cluster.brokers[victim].pid, "fdatasync:error=EIO:when=1") as injection:
                injection.wait_injected()
            cluster.wait_leader(topic, other_than=victim)
            stage.wait_progress(50)
            cluster.kill(victim)
            cluster.start(victim)
        stage.wait_progress(50)
        stage.judge()


KILLS = {
    "an append": "writev",
    "a checkpoint, an index or a snapshot": "pwrite64",
    "a rename": "rename,/rename",
    "an fsync of a file or directory": "fsync",
    "an fdatasync": "fdatasync",
    "a truncation": "ftruncate",
}


@pytest.mark.parametrize("call", ["an append"])
def test_a_broker_may_die_in_the_middle_of(tmp_path: Path, call: str) -> None:
    die_at(tmp_path, KILLS[call], [37])


@pytest.mark.nightly
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("call", KILLS)
def test_a_broker_may_die_at_any(tmp_path: Path, call: str) -> None:
    # Segments that are closed have little cut off: there are few truncations.
    die_at(tmp_path, KILLS[call], [1, 2, 3, 5] if call == "a truncation" else [1, 2, 3, 5, 8, 13])


def die_at(tmp_path: Path, call: str, places: list[int]) -> None:
    """By SIGKILL at the n-th such call, again and again."""
    with one_broker(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        # Segments roll often, and with them indexes, snapshots, checkpoints and directories are written.
        topic = stage.topic("t", 3, segment_bytes=str(MEBIBYTE))
        stage.observe()
        stage.writes(topic, size=20_000, rate=25)
        for place in places:
            stage.wait_progress(20)
            process = cluster.brokers[1]
            with stage.fault(f"SIGKILL at {call} number {place}"):
                rules = [f"{name.lstrip('/')}:signal=SIGKILL:when={place}" for name in call.split(",")]
                with Injection(process.pid, *rules):
                    wait_until(lambda process=process: not process.alive, f"it dies at {call}", seconds=120)
                cluster.start(1)
        stage.wait_progress(50)
        stage.judge()


@pytest.mark.nightly
@pytest.mark.parametrize("milliseconds", [300, 5_000])
def test_a_disk_that_takes_its_time_costs_time_and_nothing_else(tmp_path: Path, milliseconds: int) -> None:
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        topic = stage.topic("t", 3)
        stage.observe()
        stage.writes(topic)
        stage.group(topic)
        stage.wait_progress(50)
        victim = cluster.leader(topic)
        epoch = cluster.partition(topic).leader_epoch
        with (
            stage.fault(f"every fdatasync of broker {victim} takes {milliseconds} ms"),
            Injection(cluster.brokers[victim].pid, f"fdatasync:delay_enter={milliseconds}ms") as injection,
        ):
            injection.wait_injected(20, seconds=240)
        stage.wait_progress(50)
        assert cluster.partition(topic).leader_epoch <= epoch + 2, "elections stormed"
        stage.judge()
