"""Three broker processes keep the same records, whoever dies: copies are byte for byte those of the leader."""

from __future__ import annotations

import os
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from broker.storage.checkpoints import INCOMPLETE_FILE
from tests.support.cluster_process import ClusterProcess
from tests.support.replicas import batches, log_end
from tests.support.wait import wait_until

SECONDS_MAX = 60


def write(
    cluster: ClusterProcess, topic: str, count: int, *, partition: int = 0, acks: str = "all", tag: str = ""
) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": acks, "linger.ms": 1})
    failed: list[str] = []
    for number in range(count):
        producer.produce(
            topic,
            f"{tag}{number}".encode() * 20,
            partition=partition,
            on_delivery=lambda error, _: failed.append(str(error)) if error else None,
        )
    assert producer.flush(SECONDS_MAX) == 0
    assert not failed


def contents(directory: Path) -> list[bytes]:
    return [content for _, _, content in batches(directory)]


def _ends(cluster: ClusterProcess, topic: str) -> set[int]:
    return {log_end(directory) for directory in cluster.replica_directories(topic).values()}


def wait_equal(cluster: ClusterProcess, topic: str, end: int, partition: int = 0) -> None:
    """Every replica has the same bytes up to the log end, not only what is committed."""
    directories = cluster.replica_directories(topic, partition)
    assert len(directories) == 3
    wait_until(
        lambda: {log_end(directory) for directory in directories.values()} == {end},
        f"all replicas of {topic}-{partition} end at {end}",
        seconds=SECONDS_MAX,
    )
    logs = [contents(directory) for directory in directories.values()]
    assert logs[0] == logs[1] == logs[2]


def test_what_is_written_is_on_all_three_byte_for_byte(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=3, min_insync_replicas="2", segment_bytes="1048576")
    for partition in range(3):
        write(cluster, topic, 300, partition=partition)
    for partition in range(3):
        wait_equal(cluster, topic, 300, partition)


def test_transactions_and_their_markers_are_replicated_as_they_are(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(min_insync_replicas="2")
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": topic})
    producer.init_transactions(SECONDS_MAX)
    for number in range(4):
        producer.begin_transaction()
        for value in range(3):
            producer.produce(topic, f"{number}.{value}".encode())
        producer.flush(SECONDS_MAX)
        if number % 2:
            producer.abort_transaction(SECONDS_MAX)
        else:
            producer.commit_transaction(SECONDS_MAX)
    wait_equal(cluster, topic, 16)
    leader = cluster.leader(topic)
    cluster.kill(leader)
    cluster.wait_leader(topic, other_than=leader)
    settings = {"bootstrap.servers": cluster.bootstrap, "group.id": topic, "isolation.level": "read_committed"}
    consumer = Consumer(settings)
    consumer.assign([TopicPartition(topic, 0, 0)])
    seen: list[bytes] = []

    def read() -> bool:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            seen.append(message.value())
        return len(seen) == 6

    wait_until(read, "the committed records are read from the new leader", seconds=SECONDS_MAX)
    consumer.close()
    assert seen == [f"{number}.{value}".encode() for number in (0, 2) for value in range(3)]
    cluster.start(leader)
    cluster.wait_isr(topic)


def test_a_killed_follower_catches_up(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(min_insync_replicas="2")
    write(cluster, topic, 200)
    follower = next(broker for broker in (1, 2, 3) if broker != cluster.leader(topic))
    cluster.kill(follower)
    write(cluster, topic, 3_000, tag="while it was away ")
    cluster.start(follower)
    cluster.wait_isr(topic, seconds=SECONDS_MAX)
    wait_equal(cluster, topic, 3_200)


def test_what_only_a_dead_leader_had_is_cut_off_when_it_comes_back(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(min_insync_replicas="1")
    write(cluster, topic, 100)
    wait_equal(cluster, topic, 100)
    leader = cluster.leader(topic)
    others = [broker for broker in (1, 2, 3) if broker != leader]
    for broker in others:
        cluster.pause(broker)
    alone = Producer({"bootstrap.servers": cluster.brokers[leader].bootstrap, "acks": "1"})
    directory = cluster.replica_directories(topic)[leader]
    # The first answers the fetches that wait, and lies in the sockets of the others; the second reaches nobody.
    for end, value in ((101, b"on its way"), (102, b"nobody else has this")):
        alone.produce(topic, value, partition=0)
        wait_until(lambda end=end: alone.flush(0.1) == 0 and log_end(directory) == end, "the leader has it")
    cluster.kill(leader)
    for broker in others:
        cluster.resume(broker)
    cluster.wait_leader(topic, other_than=leader)
    write(cluster, topic, 50, tag="the new reign ")
    cluster.start(leader)
    cluster.wait_isr(topic, seconds=SECONDS_MAX)
    # The first record may have found no fetch that waited, and then died with its leader as well.
    wait_until(
        lambda: len(_ends(cluster, topic)) == 1, "all replicas end where the new leader does", seconds=SECONDS_MAX
    )
    (end,) = _ends(cluster, topic)
    wait_equal(cluster, topic, end)
    assert end in (150, 151)
    assert b"nobody else has this" not in b"".join(contents(directory))


def test_a_follower_far_behind_catches_up_while_others_go_on(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=2, min_insync_replicas="2")
    leader = cluster.leader(topic, 0)
    follower = next(broker for broker in (1, 2, 3) if broker != leader)
    cluster.kill(follower)
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "linger.ms": 20})
    for _ in range(2_000):
        producer.produce(topic, os.urandom(10_000), partition=0)
        producer.poll(0)
    assert producer.flush(SECONDS_MAX) == 0
    cluster.start(follower)
    write(cluster, topic, 100, partition=1, tag="meanwhile ")
    cluster.wait_isr(topic, 0, seconds=SECONDS_MAX)
    wait_equal(cluster, topic, 2_000, 0)


def test_a_replica_with_damaged_bytes_is_copied_anew_and_the_damage_is_kept(tmp_path: Path) -> None:
    with ClusterProcess(tmp_path, sound=False) as cluster:
        topic = cluster.create_topic(min_insync_replicas="2")
        write(cluster, topic, 500)
        wait_equal(cluster, topic, 500)
        follower = next(broker for broker in (1, 2, 3) if broker != cluster.leader(topic))
        directory = cluster.replica_directories(topic)[follower]
        assert cluster.stop(follower) == 0
        (cluster.brokers[follower].data_directory / ".kafka_cleanshutdown").unlink()
        [segment] = directory.glob("*.log")
        damaged = bytearray(segment.read_bytes())
        damaged[len(damaged) // 2] ^= 0xFF
        segment.write_bytes(damaged)
        cluster.start(follower)
        cluster.wait_isr(topic, seconds=SECONDS_MAX)
        wait_until(lambda: not (directory / INCOMPLETE_FILE).exists(), "the copy is complete")
        wait_equal(cluster, topic, 500)
        [kept] = (cluster.brokers[follower].data_directory / "stray").glob(f"{topic}-0.*")
        assert next(kept.glob("*.log")).read_bytes() == bytes(damaged)
        assert "copied anew" in cluster.brokers[follower].output
