"""``follower.replication.throttled.rate`` as a bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.replication.throttle import WAIT_MS_MAX, Throttle


def test_without_a_rate_nobody_waits() -> None:
    throttle = Throttle(0.0)
    assert throttle.spend(10**12, 0.0) == 0
    assert throttle.throttled_ms_total == 0


def test_a_full_bucket_takes_a_second_of_the_rate_and_an_overdrawn_one_says_how_long() -> None:
    throttle = Throttle(0.0, 1_000)
    assert throttle.spend(1_000, 10.0) == 0
    assert throttle.spend(500, 10.0) == 501
    assert throttle.spend(0, 10.501) == 0
    assert throttle.throttled_ms_total == 501


def test_a_rate_of_zero_only_looks_again() -> None:
    assert Throttle(0.0, 0).spend(1, 5.0) == WAIT_MS_MAX


def test_a_lower_rate_takes_what_was_saved() -> None:
    throttle = Throttle(0.0, 10**9)
    throttle.spend(0, 100.0)
    throttle.set_rate(1_000, 100.0)
    assert throttle.spend(1_100, 100.0) == 101


def test_a_clock_that_stands_still_refills_nothing() -> None:
    throttle = Throttle(5.0, 100)
    throttle.spend(100, 6.0)
    assert throttle.spend(1, 6.0) == throttle.spend(0, 6.0)


@given(rate=st.integers(1_000, 10**8), answers=st.lists(st.integers(1, 10**6), min_size=20, max_size=60))
def test_whoever_waits_as_told_stays_at_the_rate(rate: int, answers: list[int]) -> None:
    throttle, now = Throttle(0.0, rate), 1.0
    for size in answers:
        wait_ms = throttle.spend(size, now)
        while wait_ms:
            now += wait_ms / 1_000
            wait_ms = throttle.spend(0, now)
    saved, last = rate, answers[-1]
    assert sum(answers) <= rate * (now - 1.0) + saved + last * 0.01 + 1
