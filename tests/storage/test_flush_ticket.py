"""What one flush round has to sync, and what it promises."""

from __future__ import annotations

import errno

import pytest

from broker.storage.existence import Existence
from broker.storage.flush_ticket import SharedSync
from broker.storage.memory_filesystem import MemoryFileSystem, SyncDirectory, SyncFile
from broker.types import TopicPartition
from tests.storage.support import CONFIG, NOW_MS, PARTITION, TOPIC_ID, append, flush, open_log, open_log_dir


def test_an_append_to_a_known_log_needs_one_sync() -> None:
    disk = MemoryFileSystem()
    log = open_log(disk)
    append(log, b"first")
    flush(log)
    append(log, b"second")
    position = len(disk.journal)
    flush(log)

    assert [type(change) for change in disk.journal[position:]] == [SyncFile]


def test_many_new_logs_share_the_sync_of_their_directory() -> None:
    disk = MemoryFileSystem()
    known = {TopicPartition("orders", index): TOPIC_ID for index in range(20)}
    log_dir = open_log_dir(disk, known=known)
    for partition in known:
        append(log_dir.create_log(partition, TOPIC_ID, CONFIG), b"x")
    tickets = [log.flush_ticket() for log in log_dir.logs.values()]
    position = len(disk.journal)
    for ticket in tickets:
        assert ticket is not None
        ticket.run()

    synced = [change.directory for change in disk.journal[position:] if isinstance(change, SyncDirectory)]
    assert len(synced) == 20 + 2  # the log dir, and the notes of what was made
    assert len(set(synced)) == 22


def test_a_name_added_while_the_directory_was_synced_needs_the_next_one() -> None:
    disk = MemoryFileSystem()
    disk.make_directory("/d/made")
    shared = SharedSync(disk, "/d", Existence(disk, "/d"))
    both = 2  # the directory, and the notes of what was made in it
    first = shared.needed()
    late = 0

    def during(operation: str, path: str) -> None:
        nonlocal late
        if operation == "sync" and not late:
            late = shared.needed()

    disk.fault = during
    shared.cover(first)
    shared.cover(first)
    assert sum(isinstance(change, SyncDirectory) for change in disk.journal) == both
    shared.cover(late)
    assert sum(isinstance(change, SyncDirectory) for change in disk.journal) == 2 * both


def test_a_ticket_is_settled_once() -> None:
    log = open_log(MemoryFileSystem())
    append(log, b"x")
    ticket = log.flush_ticket()
    assert ticket is not None
    ticket.run()
    log.flushed(ticket)

    with pytest.raises(AssertionError):
        log.flushed(ticket)


def test_a_log_deleted_while_its_ticket_is_out_harms_nobody() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"x")
    ticket = log.flush_ticket()
    assert ticket is not None
    log_dir.delete_log(PARTITION)
    open_before = disk.open_descriptors()
    ticket.run()
    log.flushed(ticket)

    assert disk.open_descriptors() == open_before - 1
    assert log_dir.failed_reason is None


def test_a_failed_ticket_that_never_comes_back_has_still_failed_the_directory() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"x")
    ticket = log.flush_ticket()
    assert ticket is not None

    def fail(operation: str, path: str) -> None:
        raise OSError(errno.EIO, "I/O error", path)

    disk.fault = fail
    with pytest.raises(OSError, match="I/O error"):
        ticket.run()
    disk.fault = None

    assert "fsync" in (log_dir.failed_reason or "")
    log_dir.close(clean=True)
    assert disk.read_file("/data/.kafka_cleanshutdown") is None


def test_a_ticket_still_out_at_closing_means_it_was_not_clean() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    append(log, b"x")
    flush(log)
    log.roll_if_due(NOW_MS + 10**12)
    log.flush_ticket()
    log_dir.close(clean=True)

    assert disk.read_file("/data/.kafka_cleanshutdown") is None
