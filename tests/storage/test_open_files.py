"""Few descriptors for many files."""

from __future__ import annotations

import pytest

from broker.storage.memory_filesystem import MemoryFileSystem
from broker.storage.open_files import CLOSED, LogFile, OpenFiles


@pytest.fixture
def disk() -> MemoryFileSystem:
    return MemoryFileSystem()


def files_of(count: int) -> list[LogFile]:
    return [LogFile(f"/{number}") for number in range(count)]


def test_no_more_files_are_open_than_allowed(disk: MemoryFileSystem) -> None:
    open_files = OpenFiles(disk, 3)

    for file in files_of(10):
        open_files.use(file, create=True)
        assert len(open_files) == disk.open_descriptors() <= 3


def test_a_file_in_use_stays_open_while_others_come_and_go(disk: MemoryFileSystem) -> None:
    open_files = OpenFiles(disk, 3)
    busy, *others = files_of(20)
    fd = open_files.use(busy, create=True)

    for file in others:
        open_files.use(file, create=True)
        assert open_files.use(busy) == fd


def test_a_pinned_file_is_never_closed_to_make_room(disk: MemoryFileSystem) -> None:
    open_files = OpenFiles(disk, 2)
    pinned, *others = files_of(10)
    open_files.use(pinned, create=True)
    fd = open_files.pin(pinned)

    for file in others:
        open_files.use(file, create=True)

    assert pinned.fd == fd
    open_files.unpin(pinned)
    assert pinned.fd == fd


def test_closing_a_pinned_file_waits_for_the_last_pin(disk: MemoryFileSystem) -> None:
    open_files = OpenFiles(disk, 2)
    [file] = files_of(1)
    open_files.use(file, create=True)
    open_files.pin(file)
    open_files.pin(file)
    open_files.close(file)

    open_files.unpin(file)
    assert file.fd != CLOSED
    open_files.unpin(file)

    assert file.fd == CLOSED
    assert disk.open_descriptors() == 0


def test_close_all_leaves_nothing_open(disk: MemoryFileSystem) -> None:
    open_files = OpenFiles(disk, 5)
    for file in files_of(4):
        open_files.use(file, create=True)

    open_files.close_all()

    assert disk.open_descriptors() == len(open_files) == 0


def test_more_pins_than_the_limit_open_more_files_rather_than_fail(disk: MemoryFileSystem) -> None:
    open_files = OpenFiles(disk, 2)
    files = files_of(5)
    for file in files:
        open_files.use(file, create=True)
        open_files.pin(file)

    assert len(open_files) == 5
