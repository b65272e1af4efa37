"""The two sparse indexes: lookups, files, damage, and their bound on memory."""

from __future__ import annotations

import struct
from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.storage.index_cache import IndexCache
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.storage.offset_index import IndexEntry, OffsetIndex
from broker.storage.sparse_index import IndexDamaged
from broker.storage.time_index import TimeEntry, TimeIndex

BASE = 1_000_000_000_000


def offset_index(disk: MemoryFileSystem, cache: IndexCache | None = None, name: str = "/i") -> OffsetIndex:
    return OffsetIndex(name, BASE, disk, cache or IndexCache(1 << 20))


def time_index(disk: MemoryFileSystem) -> TimeIndex:
    return TimeIndex("/t", BASE, disk, IndexCache(1 << 20))


def test_files_are_kafkas_big_endian_entries() -> None:
    disk = MemoryFileSystem()
    offsets, times = offset_index(disk), time_index(disk)
    offsets.append(BASE + 7, 4_200)
    offsets.append(BASE + 19, 8_400)
    times.append_if_newer(1_700_000_000_000, BASE + 7)
    times.append_if_newer(1_700_000_000_000, BASE + 19)
    times.append_if_newer(1_700_000_000_005, BASE + 19)
    offsets.flush()
    times.flush()

    assert disk.read_file("/i") == struct.pack(">iiii", 7, 4_200, 19, 8_400)
    assert disk.read_file("/t") == struct.pack(">qiqi", 1_700_000_000_000, 7, 1_700_000_000_005, 19)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(61, 5_000)), max_size=60), st.data())
def test_lookups_agree_with_a_plain_search(steps: list[tuple[int, int]], data: st.DataObject) -> None:
    disk = MemoryFileSystem()
    index = offset_index(disk)
    entries = [IndexEntry(-1, 0)]
    offset, position = BASE, 0
    for offsets, size in steps:
        offset, position = offset + offsets, position + size
        index.append(offset, position)
        entries.append(IndexEntry(offset, position))
        if data.draw(st.booleans()):
            index.flush()
    if data.draw(st.booleans()):
        index.flush()
        index = offset_index(disk)

    for _ in range(5):
        wanted = data.draw(st.integers(BASE - 1, offset + 10))
        assert (
            index.before_offset(wanted) == entries[max(0, bisect_right([e.last_offset for e in entries], wanted) - 1)]
        )
        where = data.draw(st.integers(0, position + 10))
        assert index.before_position(where) == entries[bisect_right([e.position for e in entries], where) - 1]
    assert index.last_entry() == entries[-1]


def test_a_time_lookup_lands_before_the_first_record_that_new() -> None:
    times = time_index(MemoryFileSystem())
    for step in range(1, 6):
        times.append_if_newer(step * 100, BASE + step)

    assert times.before_timestamp(50) == TimeEntry(-1, BASE)
    assert times.before_timestamp(100) == TimeEntry(-1, BASE)
    assert times.before_timestamp(101) == TimeEntry(100, BASE + 1)
    assert times.before_timestamp(10_000) == TimeEntry(500, BASE + 5)


def test_only_new_entries_are_written_and_a_cut_index_is_cut_on_disk() -> None:
    disk = MemoryFileSystem()
    index = offset_index(disk)
    for step in range(1, 5):
        index.append(BASE + step, step * 100)
        index.flush()
    position = len(disk.journal)
    index.flush()
    assert len(disk.journal) == position, "nothing new, nothing written"

    index.truncate_to_position(250)

    assert disk.read_file("/i") == struct.pack(">iiii", 1, 100, 2, 200)
    index.append(BASE + 3, 300)
    index.flush()
    assert offset_index(disk).last_entry() == (BASE + 3, 300)


@pytest.mark.parametrize(
    "content",
    [
        b"\x00" * 7,
        struct.pack(">iiii", 5, 100, 5, 200),
        struct.pack(">iiii", 5, 200, 6, 100),
        struct.pack(">ii", -1, 100),
        struct.pack(">ii", 1, -100),
    ],
)
def test_a_file_that_makes_no_sense_is_damaged(content: bytes) -> None:
    disk = MemoryFileSystem()
    disk.write_file("/i", content)

    with pytest.raises(IndexDamaged):
        offset_index(disk).before_offset(BASE)


def test_a_reset_index_replaces_its_file() -> None:
    disk = MemoryFileSystem()
    disk.write_file("/i", b"nonsense")
    index = offset_index(disk)
    index.reset()
    index.append(BASE + 1, 61)
    index.flush()

    assert disk.read_file("/i") == struct.pack(">ii", 1, 61)


def test_indexes_leave_memory_when_there_are_too_many_and_come_back_from_disk() -> None:
    disk = MemoryFileSystem()
    cache = IndexCache(limit_bytes=4_000)
    indexes = [offset_index(disk, cache, f"/{number}") for number in range(10)]
    for index in indexes:
        for step in range(1, 101):
            index.append(BASE + step, step)
        cache.note(index)

    assert cache.total_bytes <= 4_000
    assert sum(index.keys is not None for index in indexes) <= 5
    for index in indexes:
        assert index.before_offset(BASE + 50) == (BASE + 50, 50)
        assert cache.total_bytes <= 4_000


def test_an_index_that_cannot_be_written_stays_in_memory() -> None:
    disk = MemoryFileSystem()
    cache = IndexCache(limit_bytes=100)
    first, second = offset_index(disk, cache, "/1"), offset_index(disk, cache, "/2")
    for step in range(1, 20):
        first.append(BASE + step, step)
    cache.note(first)

    def fail(operation: str, path: str) -> None:
        if operation == "write":
            raise OSError(28, "No space left on device", path)

    disk.fault = fail
    for step in range(1, 20):
        second.append(BASE + step, step)
    cache.note(second)

    assert first.before_offset(BASE + 5) == (BASE + 5, 5)
