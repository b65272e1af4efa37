"""Power cuts after particular histories: each of these was once the only witness of a missing sync."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

import pytest

from broker.config.topic import TopicConfig
from broker.errors import KafkaError
from broker.storage.crash_images import image_after_power_cut, random_image
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.committed import append_marker, check_committed
from tests.storage.support import (
    PARTITION,
    PATH,
    SMALL_SEGMENTS,
    TOPIC_ID,
    append,
    flush,
    open_log_dir,
    read_all,
    values,
)


@pytest.fixture
def disk() -> MemoryFileSystem:
    return MemoryFileSystem()


def opened(disk: MemoryFileSystem, config: TopicConfig = SMALL_SEGMENTS) -> tuple[LogDir, Log]:
    log_dir = open_log_dir(disk, config=config)
    return log_dir, log_dir.create_log(PARTITION, TOPIC_ID, config)


def after_power_cut(disk: MemoryFileSystem) -> Log:
    log_dir = open_log_dir(image_after_power_cut(disk.journal), config=SMALL_SEGMENTS)
    assert not log_dir.offline, log_dir.offline
    return log_dir.logs[PARTITION]


def test_a_log_killed_before_its_first_flush_keeps_what_its_second_life_flushed(disk: MemoryFileSystem) -> None:
    log_dir, _ = opened(disk)
    log_dir.close(clean=False)
    log_dir, log = opened(disk)
    append(log, b"acknowledged")
    flush(log)

    assert values(read_all(after_power_cut(disk))) == [b"acknowledged"]


def test_a_log_recovered_with_data_never_flushed_has_it_durable(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    for _ in range(60):
        append(log, b"written only")
    log_dir.close(clean=False)
    log_dir, log = opened(disk)

    assert log.flushed_offset == 60
    assert after_power_cut(disk).log_end_offset == 60


def test_a_truncation_inside_a_segment_does_not_come_undone(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    for number in range(10):
        append(log, b"%d" % number)
    flush(log)
    log.truncate_to(4)
    log.roll_if_due(log._environment.clock_wall_ms() + 10**12)
    append(log, b"instead")
    flush(log)
    log_dir.checkpoint()

    assert values(read_all(after_power_cut(disk))) == [b"0", b"1", b"2", b"3", b"instead"]


def test_a_truncation_over_segments_does_not_come_undone(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    for number in range(100):
        append(log, b"%d" % number)
    flush(log)
    log_dir.checkpoint()
    log.truncate_to(4)
    append(log, b"instead")
    flush(log)
    log_dir.checkpoint()

    assert values(read_all(after_power_cut(disk))) == [b"0", b"1", b"2", b"3", b"instead"]


def test_an_abort_that_was_cut_away_does_not_come_back_with_its_index(disk: MemoryFileSystem) -> None:
    """Where the name of the next segment is on the disk, and that the index was cut is not."""
    _, log = opened(disk)
    append(log, b"kept", producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True)
    append_marker(log, 1, commit=False)
    flush(log)
    log.truncate_to(1)
    log.roll_if_due(log._environment.clock_wall_ms() + 10**12)
    append_marker(log, 1, commit=True)

    for seed in range(50):
        log_dir = open_log_dir(random_image(disk.journal, random.Random(seed)), config=SMALL_SEGMENTS)
        check_committed(log_dir.logs[PARTITION])


def test_the_clean_shutdown_marker_of_an_earlier_life_does_not_come_back(disk: MemoryFileSystem) -> None:
    log_dir, _ = opened(disk)
    log_dir.close(clean=True)
    opened(disk)

    assert image_after_power_cut(disk.journal).read_file(f"{PATH}/.kafka_cleanshutdown") is None


def test_a_clean_stop_is_durable_when_it_returns(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    for number in range(100):
        append(log, b"%d" % number, leader_epoch=number // 30)
    log_dir.close(clean=True)

    log = after_power_cut(disk)

    assert log.log_end_offset == 100
    assert log.epochs() == [(0, 0), (1, 30), (2, 60), (3, 90)]


def failing_syncs_of(what: str) -> Callable[[str, str], None]:
    def fault(operation: str, path: str) -> None:
        if operation == "sync" and path == what:
            raise OSError(errno.EIO, "I/O error", path)

    return fault


def test_epochs_written_by_a_stop_that_failed_are_durable_after_the_next_one(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    append(log, b"a", leader_epoch=0)
    log_dir.close(clean=True)
    log_dir, log = opened(disk)
    append(log, b"b", leader_epoch=1)
    disk.fault = failing_syncs_of(f"{log.directory}/00000000000000000000.log")
    log_dir.close(clean=True)
    disk.fault = None
    log_dir, log = opened(disk)
    log_dir.close(clean=True)

    assert after_power_cut(disk).epochs() == [(0, 0), (1, 1)]


def test_a_log_start_seen_after_a_kill_does_not_go_back(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    for number in range(10):
        append(log, b"%d" % number)
    flush(log)
    log_dir.checkpoint()
    disk.fault = failing_syncs_of(PATH)
    with pytest.raises(KafkaError):
        log.advance_log_start(5)
    disk.fault = None
    assert log_dir.failed_reason is not None, "a failed fsync is final, whatever it was for"
    log_dir.close(clean=False)
    log_dir, log = opened(disk)

    assert after_power_cut(disk).log_start_offset == log.log_start_offset


def test_an_index_of_aborted_transactions_is_as_durable_as_their_markers(disk: MemoryFileSystem) -> None:
    """The name of the next segment may reach the disk by itself, and then nobody scans the one before any more."""
    log_dir, log = opened(disk)
    append(log, b"x", producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True)
    append_marker(log, 7, commit=False)
    flush(log)
    log_dir.checkpoint()
    log.roll_if_due(10**15)
    image = image_after_power_cut(disk.journal)
    image.write_file(f"{PATH}/{PARTITION}/{2:020d}.log", b"")
    image.write_file(f"{PATH}/{PARTITION}/{2:020d}.snapshot", b"")

    again = open_log_dir(image, config=SMALL_SEGMENTS).logs[PARTITION]

    assert again.segment_count == 2
    assert again.aborted_transactions(0, again.read(0, 1_000, upto_offset=2)) == ((7, 0),)
