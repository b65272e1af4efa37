"""What waits is woken together, and news of a high watermark alone as late as it may be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.partition.waiting import NEWS_SECONDS, NEWS_SECONDS_UNREAD, Waiting


class Clockwork:
    """Timers that go off when the test says what time it is."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def call_later(self, seconds: float, callback: Callable[[], object]) -> None:
        self.timers.append((self.now + seconds, callback))

    def advance_to(self, now: float) -> None:
        self.now = now
        due = [timer for timer in self.timers if timer[0] <= now]
        self.timers = [timer for timer in self.timers if timer[0] > now]
        for _, callback in due:
            callback()


class Poll:
    def __init__(self) -> None:
        self.done = False

    def tell(self) -> None:
        self.done = True


@pytest.fixture
def clockwork() -> Clockwork:
    return Clockwork()


@pytest.fixture
def waiting(clockwork) -> Waiting:
    return Waiting(lambda callback: callback(), clockwork.call_later, lambda: clockwork.now)


@pytest.mark.parametrize("seconds", [NEWS_SECONDS, NEWS_SECONDS_UNREAD])
def test_a_follower_hears_when_its_time_is_over_and_not_before(clockwork, waiting, seconds) -> None:
    poll = Poll()
    waiting.tell_soon(poll, seconds)
    clockwork.advance_to(seconds * 0.9)
    assert not poll.done
    clockwork.advance_to(seconds)
    assert poll.done


def test_what_is_pressing_does_not_wait_behind_what_is_not(clockwork, waiting) -> None:
    patient, pressing = Poll(), Poll()
    waiting.tell_soon(patient, NEWS_SECONDS_UNREAD)
    waiting.tell_soon(pressing, NEWS_SECONDS)
    clockwork.advance_to(NEWS_SECONDS)
    assert (patient.done, pressing.done) == (False, True)
    clockwork.advance_to(NEWS_SECONDS_UNREAD)
    assert patient.done


def test_one_timer_serves_all_who_wait_as_long(clockwork, waiting) -> None:
    polls = [Poll() for _ in range(5)]
    for number, poll in enumerate(polls):
        clockwork.advance_to(number / 1_000)
        waiting.tell_soon(poll, NEWS_SECONDS)
    assert len(clockwork.timers) == 1
    clockwork.advance_to(NEWS_SECONDS)
    assert [poll.done for poll in polls] == [True, False, False, False, False]
    assert len(clockwork.timers) == 1
    clockwork.advance_to(NEWS_SECONDS + 0.004)
    assert all(poll.done for poll in polls)
