"""Both file systems keep the same contract."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from broker.storage.filesystem import FileSystem, RealFileSystem
from broker.storage.memory_filesystem import MemoryFileSystem

Place = tuple[FileSystem, str]


@pytest.fixture(params=["real", "memory"])
def place(request: pytest.FixtureRequest, tmp_path) -> Place:
    if request.param == "real":
        return RealFileSystem(), str(tmp_path)
    memory = MemoryFileSystem()
    memory.make_directory("/somewhere")
    return memory, "/somewhere"


@pytest.fixture
def disk(place: Place) -> FileSystem:
    return place[0]


@pytest.fixture
def path(place: Place) -> Callable[[str], str]:
    return lambda name: os.path.join(place[1], name)


def test_writes_go_to_the_end_and_reads_to_any_place(disk: FileSystem, path) -> None:
    fd = disk.open(path("a"), create=True)

    assert disk.writev(fd, (b"one", bytearray(b"two"), memoryview(b"three"))) == 11
    assert disk.writev(fd, (b"!",)) == 1
    assert disk.pread(fd, 3, 3) == b"two"
    assert disk.pread(fd, 100, 6) == b"three!"
    assert disk.pread(fd, 5, 100) == b""
    assert disk.size(fd) == 12
    disk.truncate(fd, 3)
    disk.writev(fd, (b"+",))
    assert disk.pread(fd, 100, 0) == b"one+"
    disk.datasync(fd)
    disk.close(fd)


def test_opening_keeps_the_content_and_a_missing_file_is_an_error(disk: FileSystem, path) -> None:
    disk.write_file(path("a"), b"kept")

    fd = disk.open(path("a"), create=True)
    assert disk.pread(fd, 10, 0) == b"kept"
    disk.close(fd)
    with pytest.raises(FileNotFoundError):
        disk.open(path("missing"))


def test_whole_files_are_read_replaced_and_cut(disk: FileSystem, path) -> None:
    assert disk.read_file(path("a")) is None
    assert disk.read_end(path("a"), 4) == (0, b"")
    disk.replace_file(path("a"), b"first")
    disk.replace_file(path("a"), b"second", durable=False)
    assert disk.read_file(path("a")) == b"second"
    assert disk.read_end(path("a"), 4) == (6, b"cond")
    assert disk.read_end(path("a"), 40) == (6, b"second")
    disk.append_file(path("a"), b"++", 3)
    assert disk.read_file(path("a")) == b"sec++"
    disk.append_file(path("new"), b"x", 0)
    disk.write_file(path("a"), b"")
    assert disk.read_file(path("a")) == b""
    assert sorted(disk.list_directory(path(""))) == ["a", "new"]


def test_names_are_moved_and_removed(disk: FileSystem, path) -> None:
    disk.make_directory(path("one/two"))
    disk.make_directory(path("one/two"))
    disk.write_file(path("one/two/file"), b"content")
    disk.write_file(path("other"), b"gone")

    disk.rename(path("one/two/file"), path("other"))
    assert disk.read_file(path("other")) == b"content"
    disk.rename(path("one/two"), path("moved"))
    assert sorted(disk.list_directory(path(""))) == ["moved", "one", "other"]
    disk.unlink(path("other"))
    disk.unlink(path("other"))
    disk.remove_tree(path("one"))
    assert disk.list_directory(path("")) == ["moved"]
    with pytest.raises(FileNotFoundError):
        disk.rename(path("other"), path("else"))


def test_status_tells_files_directories_and_nothing_apart(disk: FileSystem, path) -> None:
    disk.write_file(path("a"), b"12345")
    disk.make_directory(path("d"))

    file, directory = disk.status(path("a")), disk.status(path("d"))

    assert file is not None
    assert directory is not None
    assert (file.size, file.is_directory, directory.is_directory) == (5, False, True)
    assert file.modified_ms > 1_600_000_000_000
    assert disk.status(path("nothing")) is None


def test_syncing_what_is_gone_is_no_error(disk: FileSystem, path) -> None:
    disk.write_file(path("a"), b"x")

    disk.sync_file(path("a"))
    disk.sync_directory(path(""))
    disk.sync_file(path("gone"))
    disk.sync_directory(path("gone"))


def test_a_lock_is_exclusive_until_it_is_closed(disk: FileSystem, path) -> None:
    held = disk.lock(path(".lock"))
    assert held is not None

    assert disk.lock(path(".lock")) is None
    disk.close(held)
    again = disk.lock(path(".lock"))
    assert again is not None
    disk.close(again)


def test_a_moved_open_file_is_still_the_same_file(disk: FileSystem, path) -> None:
    fd = disk.open(path("a"), create=True)
    disk.writev(fd, (b"x",))
    disk.rename(path("a"), path("b"))

    disk.writev(fd, (b"y",))

    assert disk.read_file(path("b")) == b"xy"
    disk.close(fd)


def test_disk_usage_is_known(disk: FileSystem, path) -> None:
    usage = disk.disk_usage(path(""))

    assert 0 < usage.free_bytes <= usage.total_bytes


def test_the_memory_disk_is_full_when_it_is_told_so() -> None:
    disk = MemoryFileSystem()
    fd = disk.open("/a", create=True)
    disk.capacity_bytes = 5

    assert disk.writev(fd, (b"123", b"4567")) == 5
    with pytest.raises(OSError, match="No space left"):
        disk.writev(fd, (b"8",))
