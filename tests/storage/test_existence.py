"""Telling a replica that was never made from one that somebody took away, whatever the crash."""

from __future__ import annotations

from random import Random

import pytest

from broker.storage.crash_images import image_after_power_cut, random_image
from broker.storage.existence import LOST_FILE, MADE_DIRECTORY
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.types import TopicPartition
from tests.storage.support import CONFIG, PARTITION, PATH, TOPIC_ID, append, flush, open_log_dir

OTHER = TopicPartition("orders", 1)
KNOWN = {PARTITION: TOPIC_ID, OTHER: TOPIC_ID}


def opened(disk: MemoryFileSystem) -> LogDir:
    return open_log_dir(disk, known=KNOWN)


def killed(log_dir: LogDir) -> None:
    """Let go of what the operating system would take back; nothing is written."""
    log_dir.close(clean=False)


@pytest.fixture
def disk() -> MemoryFileSystem:
    """A log dir that has been in use: what is missing in it is not missing because it is new."""
    disk = MemoryFileSystem()
    open_log_dir(disk, known={}).close()
    return disk


def test_a_replica_that_was_never_made_is_not_lost(disk: MemoryFileSystem) -> None:
    assert opened(disk).existence.lost == frozenset()


def test_one_that_was_made_and_is_gone_is_lost(disk: MemoryFileSystem) -> None:
    log_dir = opened(disk)
    log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    killed(log_dir)
    disk.remove_tree(f"{PATH}/orders-0")

    assert opened(disk).existence.lost == {PARTITION}


def test_a_directory_that_nothing_was_flushed_to_may_go_with_the_power_where_flushes_acknowledge() -> None:
    disk = MemoryFileSystem()
    open_log_dir(disk, known={}, flushes=True).close()
    before = len(disk.journal)
    log_dir = open_log_dir(disk, known=KNOWN, flushes=True)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"not acknowledged")
    unflushed = len(disk.journal)
    flush(log)

    for seed in range(30):
        for position in range(before, unflushed + 1):
            image = random_image(disk.journal[:position], Random(seed))
            assert open_log_dir(image, known=KNOWN, flushes=True).existence.lost == frozenset()
    flushed = image_after_power_cut(disk.journal)
    flushed.remove_tree(f"{PATH}/orders-0")
    assert open_log_dir(flushed, known=KNOWN, flushes=True).existence.lost == {PARTITION}


def test_a_replica_given_up_before_it_was_flushed_is_not_remembered() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk, known=KNOWN, flushes=True)
    log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    log_dir.delete_log(PARTITION)
    other = log_dir.create_log(OTHER, TOPIC_ID, CONFIG)
    append(other, b"x")
    flush(other)

    assert len(disk.list_directory(f"{PATH}/{MADE_DIRECTORY}")) == 1


def test_it_stays_lost_after_an_empty_one_took_its_place_until_it_is_in_sync(disk: MemoryFileSystem) -> None:
    log_dir = opened(disk)
    log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    killed(log_dir)
    disk.remove_tree(f"{PATH}/orders-0")
    log_dir = opened(disk)
    log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    killed(log_dir)

    log_dir = opened(disk)
    assert log_dir.existence.lost == {PARTITION}
    log_dir.existence.note_recovered([PARTITION])
    killed(log_dir)

    assert opened(disk).existence.lost == frozenset()
    assert disk.read_file(f"{PATH}/{LOST_FILE}") is None


def test_in_a_log_dir_that_remembers_nothing_whatever_is_missing_is_lost() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk, known={})
    log_dir.create_log(OTHER, TOPIC_ID, CONFIG)
    log_dir.close()
    disk.remove_tree(f"{PATH}/{MADE_DIRECTORY}")

    log_dir = opened(disk)
    assert log_dir.existence.lost == {PARTITION}
    killed(log_dir)
    assert opened(disk).existence.lost == {PARTITION}


def test_a_new_log_dir_has_lost_everything_also_when_its_first_start_is_cut_short() -> None:
    disk = MemoryFileSystem()
    log_dir = opened(disk)
    log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    killed(log_dir)

    assert opened(disk).existence.lost == KNOWN.keys()


def test_what_was_given_up_and_placed_here_again_was_never_made(disk: MemoryFileSystem) -> None:
    log_dir = opened(disk)
    log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    log_dir.delete_log(PARTITION)
    killed(log_dir)

    assert opened(disk).existence.lost == frozenset()


def test_what_metadata_did_not_know_for_a_while_is_lost_when_they_know_it_again(disk: MemoryFileSystem) -> None:
    """Its directory went to ``stray/`` meanwhile: an older store must not make a replica that has everything an empty one."""
    log_dir = opened(disk)
    append(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG), b"a")
    killed(log_dir)
    killed(open_log_dir(disk, known={}))

    assert opened(disk).existence.lost == {PARTITION}


def test_a_directory_whose_note_was_cut_short_is_noted_by_the_next_start(disk: MemoryFileSystem) -> None:
    log_dir = opened(disk)
    log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    killed(log_dir)
    (note,) = disk.list_directory(f"{PATH}/{MADE_DIRECTORY}")
    disk.unlink(f"{PATH}/{MADE_DIRECTORY}/{note}")
    killed(opened(disk))
    disk.remove_tree(f"{PATH}/orders-0")

    assert opened(disk).existence.lost == {PARTITION}


def test_what_is_flushed_is_known_to_have_been_made_after_a_power_cut(disk: MemoryFileSystem) -> None:
    """The note is as durable as the records: its name is synced by the first flush of the log."""
    log_dir = opened(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"a")
    synced: list[str] = []
    disk.fault = lambda operation, path: synced.append(path) if operation == "sync" else None
    flush(log)

    assert f"{PATH}/{MADE_DIRECTORY}" in synced


def test_entries_of_a_later_version_count_for_everything(disk: MemoryFileSystem) -> None:
    disk.write_file(f"{PATH}/{LOST_FILE}", b"version=1\n")

    assert opened(disk).existence.lost == KNOWN.keys()
