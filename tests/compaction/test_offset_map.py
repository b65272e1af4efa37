from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from broker.compaction.offset_map import ENTRY_BYTES, OffsetMap


@given(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 2**40)), max_size=200))
def test_it_is_a_dictionary_of_the_newest_offsets(entries: list[tuple[bytes, int]]) -> None:
    offsets, expected = OffsetMap(300 * ENTRY_BYTES), {}
    for key, offset in entries:
        offsets.put(key, offset)
        expected[key] = offset
    assert {key: offsets.get(key) for key in expected} == expected
    assert len(offsets) == len(expected)
    assert offsets.get(b"never put") == -1


def test_it_holds_as_many_keys_as_its_memory_and_load_factor_say() -> None:
    offsets = OffsetMap(1_000 * ENTRY_BYTES, load_factor=0.9)
    count = 0
    while not offsets.is_full:
        offsets.put(b"%d" % count, count)
        count += 1
    assert count == offsets.capacity
    assert 880 <= count <= 900
    assert all(offsets.get(b"%d" % number) == number for number in range(count))
    assert offsets.get(b"another") == -1


def test_a_full_map_still_learns_newer_offsets_of_its_keys() -> None:
    offsets = OffsetMap(20 * ENTRY_BYTES)
    for number in range(offsets.capacity):
        offsets.put(b"%d" % number, number)
    assert offsets.is_full
    offsets.put(b"0", 77)
    assert offsets.get(b"0") == 77


def test_no_more_is_reserved_than_there_can_be_keys() -> None:
    assert OffsetMap(1 << 30, keys_max=100).capacity < 140
    assert OffsetMap(1 << 30, keys_max=100).capacity >= 100


def test_an_emptied_map_is_a_new_one() -> None:
    offsets = OffsetMap(100 * ENTRY_BYTES)
    offsets.put(b"a", 1)
    offsets.clear(41)
    assert (len(offsets), offsets.get(b"a"), offsets.latest_offset) == (0, -1, 41)


def test_a_nearly_full_map_is_not_slow_to_search() -> None:
    """Double hashing: the slots looked at stay few, whatever is asked."""
    offsets = OffsetMap(5_000 * ENTRY_BYTES, load_factor=0.9)
    choose = random.Random(1)
    while not offsets.is_full:
        offsets.put(choose.randbytes(8), 1)
    looks = CountingView(offsets._offsets)
    offsets._offsets = looks  # type: ignore[assignment]
    for _ in range(1_000):
        offsets.get(choose.randbytes(8))
    assert looks.count < 20_000


class CountingView:
    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.count = 0

    def __getitem__(self, index: int) -> int:
        self.count += 1
        return int(self._view[index])
