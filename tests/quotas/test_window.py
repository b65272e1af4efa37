"""Rates over sliding windows, and how long a client that is too fast has to wait."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.quotas.window import RateWindow, WindowSpec

SPEC = WindowSpec(sample_count=11, sample_ms=1_000)


def recorded(*values: tuple[int, float]) -> RateWindow:
    window = RateWindow()
    for now_ms, value in values:
        window.record(value, now_ms, SPEC)
    return window


def test_a_first_burst_is_judged_over_the_whole_window() -> None:
    window = recorded((0, 10_000.0))
    assert window.rate(0, SPEC) == 1_000.0
    assert window.wait_ms(1_000.0, 0, SPEC) == 0
    window.record(1_000.0, 0, SPEC)
    assert window.wait_ms(1_000.0, 0, SPEC) == 1_000, "the burst is 1,000 too much: one second of the limit"


def test_after_the_wait_the_client_has_had_its_limit_on_average() -> None:
    window = recorded((0, 25_000.0))
    wait_ms = window.wait_ms(1_000.0, 0, SPEC)
    assert wait_ms == 15_000
    assert 25_000 / (SPEC.least_ms + wait_ms) * 1_000 == 1_000


def test_what_is_older_than_the_window_counts_no_more() -> None:
    window = recorded((0, 50_000.0), (5_000, 1_000.0))
    assert window.rate(10_999, SPEC) > 4_000
    assert window.rate(11_000, SPEC) == 1_000 * 1_000 / SPEC.least_ms


def test_a_long_steady_rate_is_measured_as_it_is() -> None:
    window = recorded(*((now_ms, 100.0) for now_ms in range(0, 60_000, 100)))
    assert window.rate(60_000, SPEC) == pytest.approx(1_000, rel=0.1)


def test_taking_back_undoes() -> None:
    window = recorded((0, 20_000.0), (500, -20_000.0))
    assert window.rate(600, SPEC) == 0


def test_a_single_sample_is_enough() -> None:
    spec = WindowSpec(sample_count=1, sample_ms=1_000)
    window = RateWindow()
    window.record(500, 0, spec)
    assert window.rate(0, spec) == pytest.approx(500_000), "there is no full sample to be judged over"
    assert window.rate(1_000, spec) == 0


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 100_000)), min_size=1, max_size=60))
def test_a_client_that_waits_as_told_stays_near_its_limit(steps: list[tuple[int, int]]) -> None:
    """Whatever it does between: over a long time it gets its limit and at most one burst more."""
    limit = 10_000.0
    window, now_ms, total = RateWindow(), 0, 0
    for pause_ms, value in steps:
        now_ms += pause_ms
        window.record(value, now_ms, SPEC)
        total += value
        now_ms += window.wait_ms(limit, now_ms, SPEC)
    allowed = limit * (now_ms + SPEC.span_ms + SPEC.sample_ms) / 1_000
    assert total <= allowed + max(value for _, value in steps)
