from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.coordination.timers import Timers


def test_due_keys_come_earliest_first_and_only_once() -> None:
    timers: Timers[str] = Timers()
    timers.set("b", 2.0)
    timers.set("a", 1.0)
    timers.set("c", 3.0)
    assert timers.next_deadline() == 1.0
    assert timers.pop_due(2.0) == ["a", "b"]
    assert timers.pop_due(2.0) == []
    assert len(timers) == 1


def test_a_deadline_can_move_both_ways_and_be_cancelled() -> None:
    timers: Timers[str] = Timers()
    timers.set("later", 1.0)
    timers.set("later", 5.0)
    timers.set("sooner", 9.0)
    timers.set("sooner", 2.0)
    timers.set("never", 1.0)
    timers.cancel("never")
    assert timers.pop_due(4.0) == ["sooner"]
    assert timers.pop_due(5.0) == ["later"]
    assert timers.next_deadline() is None


def test_postponed_deadlines_fire_later() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 1.0)
    timers.set("b", 9.0)
    assert timers.postpone_due(3.0, 5.0) == 1
    assert timers.next_deadline() == 5.0


def test_discarding_by_owner() -> None:
    timers: Timers[tuple[int, str]] = Timers()
    timers.set((1, "x"), 1.0)
    timers.set((2, "x"), 1.0)
    timers.discard(lambda key: key[0] == 1)
    assert timers.pop_due(1.0) == [(2, "x")]


def test_a_million_heartbeats_do_not_grow_the_heap() -> None:
    timers: Timers[int] = Timers()
    for beat in range(20_000):
        timers.set(beat % 10, 100.0 - beat / 1_000)
    assert len(timers._heap) <= 2 * 10 + 65


@given(
    st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), st.integers(0, 20))) | st.integers(0, 20), max_size=60)
)
def test_it_behaves_like_a_dictionary_of_deadlines(steps: list[tuple[int, int | None] | int]) -> None:
    timers: Timers[int] = Timers()
    naive: dict[int, int] = {}
    now = 0
    for step in steps:
        if isinstance(step, int):
            now = max(now, step)
            due = sorted(key for key, deadline in naive.items() if deadline <= now)
            assert sorted(timers.pop_due(now)) == due
            naive = {key: deadline for key, deadline in naive.items() if deadline > now}
        elif step[1] is None:
            timers.cancel(step[0])
            naive.pop(step[0], None)
        else:
            timers.set(step[0], step[1])
            naive[step[0]] = step[1]
        assert timers.next_deadline() == min(naive.values(), default=None)
        assert len(timers) == len(naive)
