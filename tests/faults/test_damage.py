"""Files that changed under the broker: rows 4 to 7 and 22. Nothing wrong is ever served, and no byte is thrown away.

On one broker there is nowhere to get the records from again: the partition goes offline and says why. With three, a
replica that was damaged is fetched again from its leader, and leadership leaves a leader that was.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.client.blocking import Client
from broker.errors import ErrorCode, KafkaError
from tests.faults.clusters import one_broker, three_brokers
from tests.faults.nemeses.damage import copy_over, cut, flip_bit, overwrite, segments
from tests.faults.nemeses.disks import MEBIBYTE
from tests.faults.stage import Stage
from tests.faults.values import decode_value
from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

TOPIC = "t"
SEGMENTS = 4
FOUND = (ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.CORRUPT_MESSAGE)
"""By the broker, or by the reader: a broker does not read again what it has written or verified itself in this life, but
the checksum goes with the records, and no client takes them."""
INTO_A_RECORD = 200
"""Bytes behind the beginning of a segment: in the records of its first batch."""


def with_segments(stage: Stage) -> None:
    """A topic whose partition has a few closed segments, and writers that go on."""
    stage.topic(TOPIC, 1, segment_bytes=str(MEBIBYTE))
    stage.writes(TOPIC, size=40_000, rate=20)
    directories = stage.cluster.replica_directories(TOPIC)
    wait_until(
        lambda: all(len(segments(directory)) >= SEGMENTS for directory in directories.values()),
        "there are closed segments",
        seconds=60,
    )


def read_all(client: Client, topic: str = TOPIC) -> tuple[list[int], KafkaError | None]:
    """Values from the beginning to the end, or to the error; every one of them proves itself."""
    values: list[int] = []
    offset = 0
    end = client.list_offsets(topic, {0: -1})[0].offset
    try:
        while offset < end:
            fetched = client.fetch(topic, 0, offset, max_wait_ms=10)
            values += [decode_value(record.value)[0] for record in fetched.records]
            offset = fetched.next_offset
    except KafkaError as error:
        return values, error
    return values, None


def spoilt_on_one_broker(tmp_path: Path, spoil: Callable[[Path], None], *, live: bool) -> None:
    """``spoil`` the partition; what is read until then is right, then there is an error, and no file is gone."""
    with one_broker(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        with_segments(stage)
        for load in stage.loads:
            load.finish()
        directory = cluster.replica_directories(TOPIC)[1]
        if not live:
            cluster.stop(1)
        spoil(directory)
        before = {path.name: path.stat().st_size for path in directory.glob("*.log")}
        if not live:
            cluster.start(1)
        if live:
            assert_found(cluster)
            cluster.stop(1)
            cluster.start(1)
        assert_found(cluster)
        after = {path.name: path.stat().st_size for path in directory.glob("*.log")}
        assert before.items() <= after.items(), "files were touched"


def assert_found(cluster: ClusterProcess) -> None:
    with Client(cluster.bootstrap) as client:
        try:
            values, error = read_all(client)
        except KafkaError as refused:
            values, error = [], refused
    assert error is not None, "damage went unnoticed"
    assert error.code in FOUND, error
    assert all(value > 0 for value in values), "damaged bytes were served"


def test_a_bit_that_flips_while_the_broker_runs_is_never_served(tmp_path: Path) -> None:
    spoilt_on_one_broker(tmp_path, lambda directory: flip_bit(segments(directory)[1], INTO_A_RECORD), live=True)


@pytest.mark.nightly
@pytest.mark.parametrize(
    "spoil",
    [
        lambda directory: flip_bit(segments(directory)[1], INTO_A_RECORD),
        lambda directory: cut(segments(directory)[1], 100_000),
        lambda directory: segments(directory)[1].unlink(),
    ],
    ids=["a flipped bit", "a segment cut short", "a missing segment"],
)
def test_damage_while_the_broker_is_down_takes_the_partition_offline_and_nothing_away(tmp_path: Path, spoil) -> None:
    spoilt_on_one_broker(tmp_path, spoil, live=False)


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("live", [False, True], ids=["while down", "while running"])
def test_a_damaged_segment_is_fetched_again_from_another_replica(tmp_path: Path, live: bool) -> None:
    """It is found when somebody reads it: when the broker that has it leads. Then another one does, and heals it."""
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        with_segments(stage)
        stage.observe()
        victim = next(broker for broker in cluster.brokers if broker != cluster.leader(TOPIC))
        directory = cluster.replica_directories(TOPIC)[victim]
        with stage.fault(f"a bit flips in a segment of broker {victim}"):
            if live:
                flip_bit(segments(directory)[1], INTO_A_RECORD)
            cluster.stop(victim)
            if not live:
                flip_bit(segments(directory)[1], INTO_A_RECORD)
            cluster.start(victim)
            cluster.wait_isr(TOPIC)
            while (leader := cluster.leader(TOPIC)) != victim:
                cluster.stop(leader)
                cluster.start(leader)
                cluster.wait_isr(TOPIC)
            with Client(cluster.bootstrap) as client:
                values, _ = read_all(client)
                assert all(value > 0 for value in values), "damaged bytes were served"
            cluster.wait_leader(TOPIC, other_than=victim)
        stage.wait_progress(50)
        cluster.wait_isr(TOPIC, seconds=120)
        stage.judge()


def empty_every_index(directory: Path) -> None:
    for path in directory.glob("*.*index"):
        overwrite(path, b"")


def fill_every_index_with_garbage(directory: Path) -> None:
    for path in directory.glob("*.*index"):
        overwrite(path, b"\xa5" * (path.stat().st_size or 12))


def remove_every_index(directory: Path) -> None:
    for path in directory.glob("*.*index"):
        path.unlink()


SPOILT_INDEXES = {
    "emptied": empty_every_index,
    "garbage": fill_every_index_with_garbage,
    "missing": remove_every_index,
}


@pytest.mark.parametrize(
    "how", ["garbage", *(pytest.param(how, marks=pytest.mark.nightly) for how in ("emptied", "missing"))]
)
def test_indexes_are_made_anew_and_nothing_is_missed(tmp_path: Path, how: str) -> None:
    """Of copies in transactions, whose index tells readers of committed data what to leave out."""
    with one_broker(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        source, sink = stage.topic("source", 2), stage.topic("sink", 2)
        stage.load("confluent", source, rate=150)
        stage.copies(source, sink)
        stage.wait_progress(100)
        with stage.fault(f"all indexes are {how}"):
            cluster.stop(1)
            for topic in (source, sink):
                for index in range(2):
                    SPOILT_INDEXES[how](cluster.replica_directories(topic, index)[1])
            cluster.start(1)
        stage.wait_progress(50)
        stage.judge()


@pytest.mark.nightly
def test_an_old_checkpoint_an_old_snapshot_and_an_old_epoch_file_cost_no_record(tmp_path: Path) -> None:
    with one_broker(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        topic, sink = stage.topic("t", 2), stage.topic("sink", 2)
        stage.writes(topic)
        stage.copies(topic, sink)
        stage.wait_progress(50)
        cluster.stop(1)
        data, kept = cluster.brokers[1].data_directory, tmp_path / "kept"
        shutil.copytree(data, kept)
        cluster.start(1)
        stage.wait_progress(100)
        with stage.fault("checkpoints, snapshots and epoch files are those of the last start"):
            cluster.kill(1)
            for old in (*kept.glob("*checkpoint"), *kept.glob("*/*.snapshot"), *kept.glob("*/*checkpoint")):
                copy_over(old, data / old.relative_to(kept))
            cluster.start(1)
        stage.wait_progress(50)
        stage.judge()


@pytest.mark.nightly
def test_a_directory_of_another_broker_is_refused_at_the_start(tmp_path: Path) -> None:
    with three_brokers(tmp_path / "home") as cluster, Stage(tmp_path, cluster) as stage:
        topic = stage.topic("t", 3)
        stage.writes(topic)
        stage.wait_progress(50)
        one, other = (cluster.brokers[broker].data_directory for broker in (1, 2))
        with stage.fault("brokers 1 and 2 have each other's directory"):
            for broker in (1, 2):
                cluster.stop(broker)
            _swap(one, other)
            for broker in (1, 2):
                with pytest.raises(AssertionError, match="belongs to broker"):
                    cluster.brokers[broker].start()
            _swap(one, other)
            for broker in (1, 2):
                cluster.brokers[broker].start()
        stage.wait_progress(50)
        stage.judge()


def _swap(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


@pytest.mark.nightly
@pytest.mark.parametrize("how", ["lost", "damaged", "rolled back"])
def test_a_broker_without_its_metadata_deletes_no_partition(tmp_path: Path, how: str) -> None:
    """Row 22. Whatever it does instead, start or refuse, each record is still there: at its place or set aside."""
    home = tmp_path / "home"
    with one_broker(home) as cluster, Stage(tmp_path, cluster) as stage:
        store, backup = home / "metadata.sqlite3", tmp_path / "metadata.backup"
        cluster.stop(1)
        shutil.copyfile(store, backup)
        cluster.start(1)
        topic = stage.topic("t", 2)
        stage.writes(topic)
        stage.wait_progress(50)
        for load in stage.loads:
            load.finish()
        cluster.stop(1)
        before = _bytes_of_logs(cluster)
        for leftover in home.glob("metadata.sqlite3-*"):
            leftover.unlink()
        if how == "lost":
            store.unlink()
        elif how == "damaged":
            overwrite(store, b"this was a database" * 1_000)
        else:
            copy_over(backup, store)
        refused = _refusal_to_start(cluster)
        assert not refused or "metadata" in refused, refused
        assert _bytes_of_logs(cluster) == before, "records were thrown away"


def _refusal_to_start(cluster: ClusterProcess) -> str:
    """What it says instead of starting; empty if it has started, and been stopped again."""
    try:
        cluster.brokers[1].start()
    except AssertionError as refused:
        return str(refused)
    cluster.stop(1)
    return ""


def _bytes_of_logs(cluster: ClusterProcess) -> list[bytes]:
    """Of the topic's segments, wherever they are below the log directory."""
    found = cluster.brokers[1].data_directory.rglob("*.log")
    return sorted(path.read_bytes() for path in found if path.parent.name.startswith("t-") and path.stat().st_size)
