from __future__ import annotations

import threading

import pytest

from broker.jobs.compaction_pace import Pace, Stopped


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Waits(threading.Event):
    """An event whose waits only move the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.seconds.append(timeout)
        self._clock.now += timeout
        return self.is_set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def paced(clock: Clock, *, rate: float = 1_000.0, seconds_max: float = 1_000.0) -> tuple[Pace, Waits]:
    pace, waits = Pace(bytes_per_second_max=rate, seconds_max=seconds_max, clock=clock), Waits(clock)
    pace._stop = waits
    return pace, waits


def test_what_is_ahead_of_its_rate_waits_and_what_is_behind_does_not(clock: Clock) -> None:
    pace, waits = paced(clock)
    pace.moved(500)
    assert waits.seconds == [0.5]
    clock.now += 2.0
    pace.moved(1_000)
    assert waits.seconds == [0.5]
    assert pace.moved_bytes == 1_500


def test_an_unlimited_rate_never_waits(clock: Clock) -> None:
    pace, waits = paced(clock, rate=1.7976931348623157e308)
    pace.moved(1 << 40)
    assert waits.seconds == []


def test_a_stopped_run_ends_at_its_next_byte(clock: Clock) -> None:
    pace, _ = paced(clock)
    pace.stop()
    with pytest.raises(Stopped):
        pace.moved(1)
    assert pace.was_stopped_early


def test_a_run_that_has_had_its_time_ends_even_while_it_waits(clock: Clock) -> None:
    pace, waits = paced(clock, rate=1.0, seconds_max=10.0)
    with pytest.raises(Stopped):
        pace.moved(1_000_000)
    assert waits.seconds == [10.0]
