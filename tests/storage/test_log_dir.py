"""Opening, sharing out and closing one directory of logs."""

from __future__ import annotations

import errno
from random import Random

import pytest

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.storage.checkpoint_writer import CheckpointWriter
from broker.storage.crash_images import image_after_process_crash, random_image
from broker.storage.filesystem import RealFileSystem
from broker.storage.log_dir_opening import LogDirUnusable
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.types import TopicPartition
from tests.storage.support import (
    CONFIG,
    NOW_MS,
    PARTITION,
    PATH,
    TOPIC_ID,
    append,
    flush,
    offsets,
    open_log_dir,
    read_all,
)

OTHER_ID = bytes(reversed(range(16)))


def test_a_new_directory_is_claimed_and_kept(tmp_path) -> None:
    path = str(tmp_path / "deep" / "data")
    log_dir = open_log_dir(RealFileSystem(), path=path, node_id=3, cluster_id="abc")
    claimed = (tmp_path / "deep" / "data" / "meta.properties").read_text()
    log_dir.close()

    again = open_log_dir(RealFileSystem(), path=path, node_id=3, cluster_id="abc")
    again.close()

    assert "version=1\n" in claimed
    assert "node.id=3\n" in claimed
    assert "cluster.id=abc\n" in claimed
    assert again.meta == log_dir.meta


@pytest.mark.parametrize(
    ("options", "message"),
    [({"node_id": 2}, "belongs to broker 1, this is broker 2"), ({"cluster_id": "x"}, "belongs to cluster cluster")],
)
def test_a_directory_of_somebody_else_is_refused_and_left_alone(options: dict, message: str) -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")
    log_dir.close()
    position = len(disk.journal)

    with pytest.raises(LogDirUnusable, match=message):
        open_log_dir(disk, **options)

    assert len(disk.journal) == position
    assert open_log_dir(disk).logs[PARTITION].log_end_offset == 1


def test_damaged_meta_properties_are_refused() -> None:
    disk = MemoryFileSystem()
    open_log_dir(disk).close()
    disk.write_file(f"{PATH}/meta.properties", b"version=7\n")

    with pytest.raises(LogDirUnusable, match=r"meta\.properties"):
        open_log_dir(disk)


@pytest.mark.parametrize("filesystem", [MemoryFileSystem, RealFileSystem])
def test_two_brokers_cannot_use_one_directory(filesystem, tmp_path) -> None:
    disk = filesystem()
    path = str(tmp_path)
    first = open_log_dir(disk, path=path)

    with pytest.raises(LogDirUnusable, match="in use by another broker"):
        open_log_dir(disk, path=path)

    first.close()
    open_log_dir(disk, path=path).close()


def test_a_partition_the_metadata_does_not_know_moves_to_stray() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"precious")
    log_dir.close()
    data = disk.read_file(f"{PATH}/orders-0/00000000000000000000.log")

    again = open_log_dir(disk, known={})

    assert again.logs == {}
    [name] = disk.list_directory(f"{PATH}/stray")
    assert name == f"orders-0.{NOW_MS}"
    assert disk.read_file(f"{PATH}/stray/{name}/00000000000000000000.log") == data
    assert "orders-0" in again.notes[0]


def test_a_partition_of_a_topic_that_was_recreated_meanwhile_moves_to_stray() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"old topic")
    log_dir.close(clean=False)

    again = open_log_dir(disk, known={PARTITION: OTHER_ID})
    log = again.create_log(PARTITION, OTHER_ID, CONFIG)

    assert log.log_end_offset == 0
    assert len(disk.list_directory(f"{PATH}/stray")) == 1


def test_files_that_are_no_partitions_are_left_alone() -> None:
    disk = MemoryFileSystem()
    open_log_dir(disk).close()
    disk.make_directory(f"{PATH}/lost+found")
    disk.make_directory(f"{PATH}/notes")
    disk.write_file(f"{PATH}/readme-1", b"a file")

    open_log_dir(disk).close()

    assert {"lost+found", "notes", "readme-1"} <= set(disk.list_directory(PATH))


def test_partition_metadata_names_the_topic_and_is_written_again_when_lost() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")
    log_dir.close()
    path = f"{PATH}/orders-0/partition.metadata"
    written = disk.read_file(path)
    disk.write_file(path, b"")

    again = open_log_dir(disk)

    assert written == b"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw"
    assert disk.read_file(path) == written
    assert again.logs[PARTITION].log_end_offset == 1


def test_a_known_partition_whose_directory_vanished_is_offline() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")
    log_dir.close()
    disk.remove_tree(f"{PATH}/orders-0")

    assert "missing" in open_log_dir(disk).offline[PARTITION]


def test_creating_twice_gives_the_same_log() -> None:
    log_dir = open_log_dir(MemoryFileSystem())

    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)

    assert log_dir.create_log(PARTITION, TOPIC_ID, CONFIG) is log


def test_a_deleted_partition_is_gone_at_once_and_unlinked_after_the_delay() -> None:
    disk = MemoryFileSystem()
    clock = ManualClock()
    log_dir = open_log_dir(disk, clock=clock)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")
    log_dir.delete_log(PARTITION)

    assert log_dir.logs == {}
    [name] = [name for name in disk.list_directory(PATH) if name.endswith("-delete")]
    assert name.startswith("orders-0.")
    assert log_dir.purge_due(clock.wall_ms()) == 0
    clock.advance(CONFIG.file_delete_delay_ms)
    assert log_dir.purge_due(clock.wall_ms()) == 1
    assert not [name for name in disk.list_directory(PATH) if name.endswith("-delete")]


def test_a_deletion_that_was_interrupted_is_finished_after_the_restart() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")
    log_dir.delete_log(PARTITION)
    log_dir.close(clean=False)

    again = open_log_dir(disk, known={})
    again.purge_due(NOW_MS)

    assert [name for name in disk.list_directory(PATH) if name.endswith("-delete")] == []


def test_the_longest_topic_name_can_be_deleted(tmp_path) -> None:
    partition = TopicPartition("t" * 249, 99_999)
    log_dir = open_log_dir(RealFileSystem(), path=str(tmp_path), known={partition: TOPIC_ID})
    append(log_dir.create_log(partition, TOPIC_ID, CONFIG), b"a")

    log_dir.delete_log(partition)

    assert any(path.name.endswith("-delete") for path in tmp_path.iterdir())
    log_dir.close()


@pytest.mark.parametrize("clean", [True, False])
def test_a_recreated_topic_is_never_measured_against_its_predecessor(clean: bool) -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    for _ in range(100):
        append(log, b"old")
    flush(log)
    log.advance_log_start(50)
    log_dir.checkpoint()
    log_dir.delete_log(PARTITION)
    fresh = log_dir.create_log(PARTITION, OTHER_ID, CONFIG)
    append(fresh, b"new")
    log_dir.close(clean=clean)

    again = open_log_dir(disk, known={PARTITION: OTHER_ID})

    assert again.offline == {}
    assert offsets(read_all(again.logs[PARTITION])) == [0]


def test_deleting_a_partition_that_is_not_here_is_fine() -> None:
    log_dir = open_log_dir(MemoryFileSystem())

    log_dir.delete_log(TopicPartition("nobody", 4))

    assert log_dir.purge_due(NOW_MS + 10**9) == 0


def test_checkpoints_are_kafkas_text_files() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"a", b"b", b"c")
    flush(log)
    append(log, b"not flushed")
    log.advance_log_start(1)
    log.high_watermark = 3
    log_dir.checkpoint()

    assert disk.read_file(f"{PATH}/recovery-point-offset-checkpoint") == b"0\n1\norders 0 3\n"
    assert disk.read_file(f"{PATH}/replication-offset-checkpoint") == b"0\n1\norders 0 3\n"
    assert disk.read_file(f"{PATH}/log-start-offset-checkpoint") == b"0\n1\norders 0 1\n"


def test_the_high_watermark_survives_a_restart() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"a", b"b", b"c")
    log.high_watermark = 3
    log_dir.close()

    assert open_log_dir(disk).logs[PARTITION].high_watermark == 3


def test_an_unchanged_checkpoint_is_not_written_again() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")
    log_dir.checkpoint()
    position = len(disk.journal)

    log_dir.checkpoint()

    assert len(disk.journal) == position


def test_a_checkpoint_that_failed_halfway_is_written_again_even_if_its_content_is_the_one_from_before() -> None:
    disk = MemoryFileSystem()
    writer = CheckpointWriter(disk, "/")
    writer.take({"points": b"low"}).write()

    def fail(operation: str, path: str) -> None:
        if operation == "sync" and path == "/":
            raise OSError(errno.EIO, "I/O error", path)

    disk.fault = fail
    with pytest.raises(OSError, match="I/O error"):
        writer.take({"points": b"high"}).write()
    disk.fault = None
    assert disk.read_file("/points") == b"high"
    writer.take({"points": b"low"}).write()

    assert disk.read_file("/points") == b"low"


def test_a_failed_directory_changes_no_log_any_more() -> None:
    log_dir = open_log_dir(MemoryFileSystem())
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    for _ in range(5):
        append(log, b"x")
    log_dir.failed_reason = "the disk is on fire"

    for change in (
        lambda: append(log, b"x"),
        lambda: log.truncate_to(1),
        lambda: log.restart_at(9),
        lambda: log.advance_log_start(2),
        lambda: log.delete_segments_below(5),
    ):
        with pytest.raises(KafkaError, match="the disk is on fire"):
            change()
    assert offsets(read_all(log)) == list(range(5))


def test_an_older_checkpoint_still_on_its_way_never_replaces_a_newer_one() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    for _ in range(10):
        append(log, b"a")
    flush(log)
    late = log_dir.checkpoint_ticket()
    log.truncate_to(4)
    late.run()
    log_dir.checkpointed(late)

    assert disk.read_file(f"{PATH}/recovery-point-offset-checkpoint") == b"0\n1\norders 0 4\n"


def test_the_checkpoints_of_one_moment_share_their_syncs() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"a")
    flush(log)
    log.high_watermark = 1
    before = len(disk.journal)
    log_dir.checkpoint_ticket().run()

    kinds = [type(change).__name__ for change in disk.journal[before:]]
    replaced = kinds.count("Move")
    assert replaced >= 2
    assert kinds[-2 * replaced - 1 :] == ["SyncFile"] * replaced + ["Move"] * replaced + ["SyncDirectory"]


def test_index_entries_are_written_once() -> None:
    disk = MemoryFileSystem()
    log = open_log_dir(disk).create_log(PARTITION, TOPIC_ID, CONFIG)
    for _ in range(3):
        append(log, b"a" * 5_000)
    assert log.save_shortcuts()
    assert not log.save_shortcuts()


def test_a_partition_made_again_while_a_checkpoint_is_on_its_way_is_not_measured_against_the_deleted_one() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"a")
    flush(log)
    log_dir.checkpoint()
    log_dir.delete_log(PARTITION)
    log_dir.checkpoint_ticket()  # and nobody has run it yet
    log_dir.create_log(PARTITION, OTHER_ID, CONFIG)

    again = open_log_dir(image_after_process_crash(disk.journal), known={PARTITION: OTHER_ID})

    assert not again.offline


def test_a_deletion_behind_a_checkpoint_that_is_on_its_way_needs_another_one() -> None:
    log_dir = open_log_dir(MemoryFileSystem())
    log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    ticket = log_dir.checkpoint_ticket()
    log_dir.delete_log(PARTITION)
    ticket.run()
    log_dir.checkpointed(ticket)

    assert log_dir.checkpoints_name_the_dead


def test_the_power_may_fail_at_any_moment_after_a_partition_was_deleted() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    other = TopicPartition("other", 0)
    for partition, topic_id in ((PARTITION, TOPIC_ID), (other, OTHER_ID)):
        log = log_dir.create_log(partition, topic_id, CONFIG)
        append(log, b"a")
        flush(log)
    log_dir.checkpoint()
    before = len(disk.journal)

    log_dir.delete_log(other)
    log_dir.due_deletions(NOW_MS)
    assert log_dir.checkpoints_name_the_dead
    ticket = log_dir.checkpoint_ticket()
    ticket.run()
    log_dir.checkpointed(ticket)

    assert not log_dir.checkpoints_name_the_dead
    assert b"other" not in (disk.read_file(f"{PATH}/recovery-point-offset-checkpoint") or b"")
    for position in range(before, len(disk.journal) + 1):
        for seed in range(5):
            image = random_image(disk.journal[:position], Random(seed))
            assert open_log_dir(image).logs[PARTITION].log_end_offset == 1


def test_the_clean_shutdown_marker_comes_last_and_goes_first() -> None:
    disk = MemoryFileSystem()
    open_log_dir(disk).close(clean=True)
    assert disk.read_file(f"{PATH}/.kafka_cleanshutdown") is not None

    log_dir = open_log_dir(disk)
    assert disk.read_file(f"{PATH}/.kafka_cleanshutdown") is None
    log_dir.close(clean=False)
    assert disk.read_file(f"{PATH}/.kafka_cleanshutdown") is None


def test_closing_on_a_failing_disk_leaves_no_marker_and_no_open_file() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")

    def fail(operation: str, path: str) -> None:
        if operation == "write" and path.endswith("checkpoint"):
            raise OSError(errno.EIO, "I/O error", path)

    disk.fault = fail
    log_dir.close(clean=True)
    log_dir.close(clean=True)
    disk.fault = None

    assert disk.open_descriptors() == 0
    assert disk.read_file(f"{PATH}/.kafka_cleanshutdown") is None
    assert open_log_dir(disk).logs[PARTITION].log_end_offset == 1


def test_no_marker_after_a_flush_failed_at_closing() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")

    def fail(operation: str, path: str) -> None:
        if operation == "sync" and path.endswith(".log"):
            raise OSError(errno.EIO, "I/O error", path)

    disk.fault = fail
    log_dir.close(clean=True)

    assert log_dir.failed_reason is not None
    assert disk.read_file(f"{PATH}/.kafka_cleanshutdown") is None


def test_a_failed_directory_refuses_new_partitions_too() -> None:
    log_dir = open_log_dir(MemoryFileSystem())
    log_dir.failed_reason = "the disk is on fire"
    log_dir.failed_reason = "and so is the house"

    with pytest.raises(KafkaError, match="the disk is on fire") as refused:
        log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)

    assert refused.value.code == ErrorCode.KAFKA_STORAGE_ERROR


def test_creating_on_a_full_disk_is_a_storage_error() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)

    def fail(operation: str, path: str) -> None:
        if operation == "mkdir":
            raise OSError(errno.ENOSPC, "No space left on device", path)

    disk.fault = fail
    with pytest.raises(KafkaError, match="No space left"):
        log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    disk.fault = None
    assert log_dir.failed_reason is None
    assert log_dir.create_log(PARTITION, TOPIC_ID, CONFIG).log_end_offset == 0


def test_producers_expire_by_the_brokers_clock_not_by_record_time() -> None:
    log_dir = open_log_dir(MemoryFileSystem())
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"from 1970", timestamps=[0], producer_id=1, producer_epoch=0, base_sequence=0)

    assert log_dir.expire_producers(NOW_MS + 1_000, 1_000) == 0
    assert log_dir.expire_producers(NOW_MS + 1_001, 1_000) == 1


def test_a_thousand_partitions_share_few_open_files(tmp_path) -> None:
    known = {TopicPartition("many", index): TOPIC_ID for index in range(1_000)}
    log_dir = open_log_dir(RealFileSystem(), path=str(tmp_path), known=known, config=TopicConfig())
    for partition in known:
        append(log_dir.create_log(partition, TOPIC_ID, TopicConfig()), b"x")

    assert log_dir.statistics().open_files <= 512
    for partition in known:
        assert offsets(read_all(log_dir.logs[partition])) == [0]
    log_dir.close(clean=False)


def test_statistics_add_up() -> None:
    log_dir = open_log_dir(MemoryFileSystem())
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"a")

    found = log_dir.statistics()

    assert (found.log_count, found.offline_count, found.failed_reason) == (1, 0, "")
    assert found.size_bytes == log.size_bytes
    assert log_dir.disk_usage().free_bytes > 0
