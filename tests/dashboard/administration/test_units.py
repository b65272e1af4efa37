from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.administration import units

LONGS = st.integers(0, units.LONG_MAX - 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7 d", 604_800_000),
        ("7d", 604_800_000),
        (" 12 Hours ", 43_200_000),
        ("30 min", 1_800_000),
        ("30 m", 1_800_000),
        ("1.5 h", 5_400_000),
        ("500 ms", 500),
        ("500", 500),
        ("1 w", 604_800_000),
        ("-1", -1),
        ("no limit", -1),
        ("No Limit", -1),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, value: int) -> None:
    assert units.parse_duration_ms(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 GiB", 2**30),
        ("1g", 2**30),
        ("64 MiB", 2**26),
        ("0.5 KiB", 512),
        ("1048576", 2**20),
        ("10 bytes", 10),
        ("no limit", -1),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, value: int) -> None:
    assert units.parse_size_bytes(text) == value


@pytest.mark.parametrize("text", ["", "7 parsecs", "d", "1.5", "0.0001 s", "7 d 3 h", "1e3", "٧ d", "9" * 30])
def test_other_durations_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="7 d"):
        units.parse_duration_ms(text)


@given(LONGS)
def test_what_is_shown_reads_back_as_the_same_number(value: int) -> None:
    assert units.parse_duration_ms(units.show_duration_ms(value)) == value
    assert units.parse_size_bytes(units.show_size_bytes(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (604_800_000, "7 d"),
        (0, "0 ms"),
        (90_000, "90 s"),
        (-1, "no limit"),
        (units.LONG_MAX, "no limit"),
        (1, "1 ms"),
        (-2, "-2"),
    ],
)
def test_durations_are_shown_in_their_largest_whole_unit(value: int, text: str) -> None:
    assert units.show_duration_ms(value) == text
