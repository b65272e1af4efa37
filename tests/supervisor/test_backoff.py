from __future__ import annotations

from broker.supervisor.backoff import LONGEST_SECONDS, STABLE_SECONDS, Backoff


def test_the_wait_doubles_up_to_half_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.next_delay(0) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_stable_run_forgives_what_was_before() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.next_delay(0)
    assert backoff.next_delay(STABLE_SECONDS) == 0.5


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff(failures=100_000)
    assert backoff.next_delay(0) == LONGEST_SECONDS
