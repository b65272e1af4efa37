"""Java's ``String.hashCode``: well-known values, and its defining formula as a naive twin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.coordination.partitioner import java_hash, partition_for


@pytest.mark.parametrize(
    ("text", "expected"), [("", 0), ("a", 97), ("hello", 99162322), ("polygenelubricants", -(2**31)), ("ä", 228)]
)
def test_known_values(text: str, expected: int) -> None:
    assert java_hash(text) == expected


def test_a_character_beyond_the_basic_plane_counts_as_its_two_surrogates() -> None:
    assert java_hash("😀") == 31 * 0xD83D + 0xDE00


@given(st.text(max_size=30))
def test_it_is_the_polynomial_of_the_language_specification(text: str) -> None:
    raw = text.encode("utf-16-be")
    units = [raw[i] << 8 | raw[i + 1] for i in range(0, len(raw), 2)]
    exact = sum(unit * 31 ** (len(units) - 1 - place) for place, unit in enumerate(units))
    assert (java_hash(text) - exact) % 2**32 == 0
    assert -(2**31) <= java_hash(text) < 2**31


def test_the_smallest_hash_has_no_absolute_value_and_goes_to_partition_0() -> None:
    assert partition_for("polygenelubricants", 50) == 0


@given(st.text(max_size=30), st.integers(1, 100))
def test_the_sign_is_dropped_before_the_division(text: str, count: int) -> None:
    if java_hash(text) != -(2**31):
        assert partition_for(text, count) == abs(java_hash(text)) % count
