"""Rates from counters: unknown until two readings, never negative."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dashboard.collector.rates import Meter, three_digits


def test_one_reading_tells_no_rate() -> None:
    meter = Meter()
    meter.read(1000, (5.0,))
    assert meter.rate(0) is None


def test_two_readings_tell_the_rate_per_second() -> None:
    meter = Meter()
    meter.read(1000, (0.0, 10.0))
    meter.read(3000, (200.0, 10.0))
    assert meter.rate(0) == 100.0
    assert meter.rate(1) == 0.0


def test_a_falling_counter_starts_over() -> None:
    meter = Meter()
    meter.read(1000, (100.0,))
    meter.read(2000, (200.0,))
    meter.read(3000, (5.0,))
    assert meter.rate(0) is None
    meter.read(4000, (10.0,))
    assert meter.rate(0) == 5.0


def test_a_clock_that_goes_back_starts_over() -> None:
    meter = Meter()
    meter.read(5000, (100.0,))
    meter.read(4000, (200.0,))
    assert meter.rate(0) is None


def test_the_same_reading_twice_changes_nothing() -> None:
    meter = Meter()
    meter.read(1000, (0.0,))
    meter.read(2000, (50.0,))
    meter.read(2000, (50.0,))
    assert meter.rate(0) == 50.0


def test_a_stopped_counter_is_idle_once_the_window_has_passed() -> None:
    meter = Meter()
    meter.read(0, (0.0,))
    meter.read(1000, (50.0,))
    assert not meter.idle
    for second in range(2, 8):
        meter.read(second * 1000, (50.0,))
    assert meter.idle
    assert meter.rate(0) == 0.0


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e15)), min_size=1, max_size=30))
def test_no_sequence_of_readings_gives_a_negative_rate(readings: list[tuple[int, float]]) -> None:
    meter = Meter()
    for at_ms, total in readings:
        meter.read(at_ms, (total,))
        rate = meter.rate(0)
        assert rate is None or rate >= 0


@given(st.floats(1e-9, 1e18))
def test_rounding_keeps_three_digits(value: float) -> None:
    assert abs(three_digits(value) - value) <= value * 0.0051
