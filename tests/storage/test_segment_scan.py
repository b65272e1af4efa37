"""Walking a file batch by batch, whatever the batches' sizes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.batch import stamp
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.storage.segment_scan import CHECK_CHUNK_BYTES, HEADER_CHUNK_BYTES, DamageFound, scan_checked, scan_headers
from tests.storage.support import batch

SIZES = [
    1,
    50,
    HEADER_CHUNK_BYTES - 80,
    HEADER_CHUNK_BYTES,
    CHECK_CHUNK_BYTES - 70,
    CHECK_CHUNK_BYTES,
    3 * CHECK_CHUNK_BYTES,
]


def file_of(sizes: list[int], base_offset: int = 0) -> tuple[MemoryFileSystem, int, list[int]]:
    """A file of one batch per size, and where each starts; the end last."""
    disk = MemoryFileSystem()
    fd = disk.open("/log", create=True)
    positions = [0]
    for number, size in enumerate(sizes):
        data = batch(b"x" * size)
        stamp(data, 0, base_offset + number, 0)
        disk.writev(fd, (data,))
        positions.append(disk.size(fd))
    return disk, fd, positions


def positions_of(disk: MemoryFileSystem, fd: int, *, checked: bool, end: int | None = None) -> list[int]:
    end = disk.size(fd) if end is None else end
    if checked:
        return [position for position, _ in scan_checked(disk, fd, 0, end, 0, gaps_allowed=False)]
    return [position for position, _ in scan_headers(disk, fd, 0, end, 0, gaps_allowed=False, exact=True)]


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("sizes", [SIZES, SIZES[::-1], [10] * 300, [CHECK_CHUNK_BYTES // 3] * 10])
def test_every_batch_is_found(sizes: list[int], checked: bool) -> None:
    disk, fd, positions = file_of(sizes)

    assert positions_of(disk, fd, checked=checked) == positions[:-1]


@given(st.lists(st.integers(0, 9_000), min_size=1, max_size=12), st.data())
def test_a_file_cut_anywhere_gives_its_whole_batches_and_then_damage(sizes: list[int], data: st.DataObject) -> None:
    disk, fd, positions = file_of(sizes)
    end = data.draw(st.integers(0, positions[-1]))
    whole = [position for position, after in pairwise(positions) if after <= end]

    for scan in (
        scan_checked(disk, fd, 0, end, 0, gaps_allowed=False),
        scan_headers(disk, fd, 0, end, 0, gaps_allowed=False, exact=True),
    ):
        assert [next(scan)[0] for _ in whole] == whole
        if end in positions:
            assert next(scan, None) is None
            continue
        with pytest.raises(DamageFound) as damage:
            next(scan)
        assert damage.value.torn
        assert (damage.value.position, damage.value.offset) == (positions[len(whole)], len(whole))


@pytest.mark.parametrize("at", [25, 70, CHECK_CHUNK_BYTES - 1, CHECK_CHUNK_BYTES, 3 * CHECK_CHUNK_BYTES])
def test_a_flipped_bit_in_a_batch_larger_than_a_chunk_is_found(at: int) -> None:
    disk, fd, positions = file_of([10, 3 * CHECK_CHUNK_BYTES, 10])
    content = bytearray(disk.read_file("/log") or b"")
    content[positions[1] + at] ^= 1
    disk.write_file("/log", content)

    with pytest.raises(DamageFound) as damage:
        positions_of(disk, fd, checked=True)

    assert (damage.value.position, damage.value.offset, damage.value.torn) == (positions[1], 1, False)


def test_offsets_must_follow_each_other_unless_gaps_are_allowed() -> None:
    disk, fd, positions = file_of([10, 10], base_offset=5)

    with pytest.raises(DamageFound, match="offset 5 is not the one that follows"):
        positions_of(disk, fd, checked=True)
    assert [p for p, _ in scan_checked(disk, fd, 0, positions[-1], 0, gaps_allowed=True)] == positions[:-1]
    with pytest.raises(DamageFound):
        list(scan_checked(disk, fd, 0, positions[-1], 6, gaps_allowed=True))
