"""Who keeps a socket, and how much may be said on it."""

from __future__ import annotations

from types import SimpleNamespace

from dashboard.live.guard import Allowance, Seats, has_origin, is_admitted


def test_a_burst_is_allowed_and_then_only_the_rate() -> None:
    now = SimpleNamespace(seconds=0.0)
    allowance = Allowance(10, clock=lambda: now.seconds)
    assert [allowance.take() for _ in range(21)] == [True] * 20 + [False]
    now.seconds = 1.0
    assert sum(allowance.take() for _ in range(20)) == 9, "what was asked for too much is owed"
    now.seconds = 3_600.0
    assert sum(allowance.take() for _ in range(50)) == 20, "patience is not saved up"


def test_seats_are_limited_per_user_and_in_all() -> None:
    seats = Seats(per_user_max=2, all_max=3)
    assert [seats.take("a"), seats.take("a"), seats.take("a")] == [True, True, False]
    assert [seats.take("b"), seats.take("b")] == [True, False]
    seats.release("a")
    assert seats.take("b")
    for user in ("a", "b", "b"):
        seats.release(user)
    assert seats.count == 0


def test_a_page_of_ours_and_a_person_who_is_signed_in() -> None:
    person = SimpleNamespace(is_authenticated=True, is_active=True, pk=1)
    origin = [(b"origin", b"http://localhost")]
    assert has_origin({"headers": origin})
    assert not has_origin({"headers": [(b"origin", b"")]})
    assert is_admitted({"headers": origin, "user": person})
    assert not is_admitted({"headers": [], "user": person})
    assert not is_admitted({"headers": origin})
    assert not is_admitted({"headers": origin, "user": SimpleNamespace(is_authenticated=True, is_active=False)})
