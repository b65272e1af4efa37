"""What commits and lag say about a group."""

from __future__ import annotations

import pytest

from dashboard.collector.verdicts import Point, Progress, Verdict, judge


def verdict(
    lags: list[int | None],
    *,
    committed_per_second: int = 100,
    members: int = 1,
    state: str = "Stable",
    state_since_ms: int = 0,
    reason: str = "",
    back_at: int | None = None,
) -> Verdict:
    """Judge after these lags, one a second."""
    progress = Progress()
    committed = 1_000
    for second, lag in enumerate(lags):
        committed += -500 if second == back_at else committed_per_second
        progress.note(Point(at_ms=second * 1000, committed=committed, partitions=1, lag=lag))
    return judge(
        state=state,
        members=members,
        lag=lags[-1],
        progress=progress,
        now_ms=len(lags) * 1000,
        state_since_ms=state_since_ms,
        rebalance_reason=reason,
    )


def test_a_group_that_has_read_everything_is_caught_up() -> None:
    assert verdict([0] * 40).word == "caught up"


def test_a_group_without_members_and_without_lag_is_idle() -> None:
    assert verdict([0] * 3, members=0, state="Empty", committed_per_second=0).word == "idle"


def test_a_group_without_members_but_with_lag_has_stopped() -> None:
    found = verdict([7] * 3, members=0, state="Empty", committed_per_second=0)
    assert (found.word, found.level) == ("stopped", "warn")
    assert "7 records" in found.text


def test_a_consumer_that_commits_without_joining_is_judged_by_its_commits() -> None:
    assert verdict([50] * 60, members=0, state="Empty").word == "keeping up"


def test_no_commit_for_half_a_minute_is_a_stall() -> None:
    assert verdict([500] * 32, committed_per_second=0).word == "stalled"


def test_a_shorter_pause_is_not() -> None:
    assert verdict([500] * 20, committed_per_second=0).word == "watching"


def test_growing_lag_is_falling_behind() -> None:
    found = verdict([1000 + 100 * second for second in range(60)])
    assert (found.word, found.level) == ("falling behind", "warn")
    assert "100 more every second" in found.text


def test_shrinking_lag_is_catching_up_and_says_how_long() -> None:
    found = verdict([70_000 - 1000 * second for second in range(60)], committed_per_second=2000)
    assert (found.word, found.level) == ("catching up", "good")
    assert "about 11 s" in found.text


@pytest.mark.parametrize("interval", [1, 2, 5])
def test_the_saw_of_periodic_commits_is_keeping_up(interval: int) -> None:
    lags: list[int | None] = [200 + 240 * (second % interval) for second in range(60)]
    assert verdict(lags, committed_per_second=240).word == "keeping up"


def test_a_backlog_read_within_seconds_is_no_trouble() -> None:
    lags: list[int | None] = [10] * 20 + [3000, 2000, 1000] + [10] * 20
    assert verdict(lags, committed_per_second=1000).word == "keeping up"


def test_offsets_that_go_back_are_said() -> None:
    assert verdict([500] * 10, back_at=5).word == "rewound"


def test_a_rebalance_is_only_worrying_when_it_lasts() -> None:
    short = verdict([5] * 4, state="PreparingRebalance", state_since_ms=1000, reason="a member left")
    assert (short.word, short.level) == ("rebalancing", "idle")
    assert "a member left" in short.text
    assert verdict([5] * 30, state="CompletingRebalance").level == "warn"


def test_without_any_known_lag_nothing_is_claimed() -> None:
    assert verdict([None] * 5).word == "unknown"


def test_another_set_of_partitions_starts_the_window_over() -> None:
    progress = Progress()
    progress.note(Point(at_ms=0, committed=10, partitions=1, lag=1))
    progress.note(Point(at_ms=60_000, committed=10, partitions=2, lag=1))
    assert progress.still_ms() == 0
