from __future__ import annotations

import threading

from broker.clock import ManualClock
from broker.metadata.session_guard import SessionGuard


def guard() -> tuple[SessionGuard, ManualClock, list[str]]:
    clock, given_up = ManualClock(), []  # type: ignore[var-annotated]
    return SessionGuard(clock, given_up.append), clock, given_up


def test_a_session_is_given_up_once_when_nobody_extends_it() -> None:
    sessions, clock, given_up = guard()
    sessions.extend("a", 1_000)
    sessions.extend("b", 2_000)
    clock.advance(1_001)
    sessions.look()
    sessions.look()
    assert given_up == ["a"]
    assert sessions.gave_up("a")
    assert not sessions.gave_up("b")


def test_extending_in_time_keeps_it_and_too_late_does_not_bring_it_back() -> None:
    sessions, clock, given_up = guard()
    for _ in range(3):
        sessions.extend("a", 1_000)
        clock.advance(999)
        sessions.look()
    assert given_up == []
    clock.advance(2)
    sessions.look()
    sessions.extend("a", 1_000)
    assert sessions.gave_up("a")
    sessions.look()
    assert given_up == ["a"]


def test_one_that_was_closed_is_left_alone() -> None:
    sessions, clock, given_up = guard()
    sessions.extend("a", 1_000)
    sessions.forget("a")
    clock.advance(2_000)
    sessions.look()
    assert given_up == []
    assert not sessions.gave_up("a")


def test_its_thread_looks_by_itself() -> None:
    clock, seen = ManualClock(), threading.Event()
    sessions = SessionGuard(clock, lambda session: seen.set())
    sessions.extend("a", 1_000)
    sessions.start()
    clock.advance(1_001)
    assert seen.wait(20)
    sessions.stop()
