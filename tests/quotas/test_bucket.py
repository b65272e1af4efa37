"""A bucket that leaks at the client's rate: what it has had at once, and what it has to wait for."""

from __future__ import annotations

from broker.quotas.bucket import LeakyBucket
from broker.quotas.window import WindowSpec

SPEC = WindowSpec()
LIMIT = 1_000.0


def test_a_window_may_be_had_at_once_and_comes_back_at_the_rate() -> None:
    bucket = LeakyBucket()
    assert (bucket.room(LIMIT, 5, SPEC), bucket.wait_ms(LIMIT, 5, SPEC)) == (10_000, 0)
    bucket.record(10_000, 5, SPEC)
    assert (bucket.room(LIMIT, 5, SPEC), bucket.wait_ms(LIMIT, 5, SPEC)) == (0, 0)
    assert bucket.room(LIMIT, 2_505, SPEC) == 2_500
    assert bucket.room(LIMIT, 1_000_005, SPEC) == 10_000, "and no more than a window"


def test_what_is_too_much_is_waited_for_to_the_millisecond() -> None:
    bucket = LeakyBucket()
    bucket.record(25_000, 0, SPEC)
    assert bucket.wait_ms(LIMIT, 0, SPEC) == 15_000
    assert bucket.wait_ms(LIMIT, 14_999, SPEC) == 1
    assert bucket.wait_ms(LIMIT, 15_000, SPEC) == 0
    bucket.record(25_000, 15_000, SPEC)
    assert bucket.wait_ms(LIMIT, 15_000, SPEC) == 25_000, "the window was not given twice"


def test_another_limit_holds_from_now_on() -> None:
    bucket = LeakyBucket()
    bucket.record(30_000, 0, SPEC)
    assert bucket.wait_ms(LIMIT, 0, SPEC) == 20_000
    assert bucket.wait_ms(2 * LIMIT, 0, SPEC) == 5_000
