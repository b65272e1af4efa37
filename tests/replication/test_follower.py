"""What a follower decides, case by case; ``test_follower_against_twin.py`` has the histories nobody thought of."""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors import ErrorCode
from broker.replication.follower import (
    BACKOFF_MS_MIN,
    NOTHING,
    AskRange,
    Effects,
    Follower,
    Phase,
    RestartAt,
    Truncate,
)
from broker.storage.leader_epochs import LeaderEpochs

NOT_LEADER = int(ErrorCode.NOT_LEADER_OR_FOLLOWER)
OUT_OF_RANGE = int(ErrorCode.OFFSET_OUT_OF_RANGE)


@dataclass
class OwnLog:
    log_start_offset: int
    log_end_offset: int


def following(epoch: int = 7) -> Follower:
    follower = Follower()
    follower.follow(1, epoch)
    return follower


def diverging(
    epoch: int, end: int, *, own: list[tuple[int, int]], log_end: int, log_start: int = 0, high_watermark: int = 0
) -> Effects:
    epochs = LeaderEpochs(own)
    return following().on_diverging(
        epoch,
        end,
        own_end=lambda asked: epochs.end_offset(asked, log_end),
        log=OwnLog(log_start, log_end),
        high_watermark=high_watermark,
    )


def cut_to(offset: int, *, below: int = 0) -> Effects:
    return (Truncate(offset=offset, below_high_watermark=below),)


def test_a_tail_the_leader_does_not_have_is_cut_where_the_leader_ends_the_epoch() -> None:
    assert diverging(3, 80, own=[(1, 0), (3, 50)], log_end=100) == cut_to(80)


def test_an_epoch_the_leader_never_saw_is_cut_whole() -> None:
    assert diverging(3, 70, own=[(3, 50), (5, 70)], log_end=100) == cut_to(70)


def test_the_shorter_end_of_a_shared_epoch_counts() -> None:
    assert diverging(3, 90, own=[(3, 50), (5, 70)], log_end=100) == cut_to(70)


def test_two_quick_failovers_are_followed_back_to_the_fork() -> None:
    """KIP-279: both logs wrote epochs the other never saw. The leader has 1 and 4, we have 1, 2 and 5."""
    own = [(1, 0), (2, 10), (5, 20)]
    assert diverging(4, 40, own=own, log_end=30) == cut_to(20)
    assert diverging(1, 15, own=own[:2], log_end=20) == cut_to(10)


def test_a_leader_that_shares_no_epoch_is_met_where_it_says() -> None:
    assert diverging(1, 5, own=[(3, 20)], log_start=5, log_end=30) == cut_to(5)


def test_a_cut_below_the_high_watermark_says_how_much_it_loses() -> None:
    assert diverging(3, 80, own=[(3, 50)], log_end=100, high_watermark=95) == cut_to(80, below=15)


def test_a_cut_below_the_log_start_begins_anew() -> None:
    effects = diverging(3, 10, own=[(3, 50)], log_start=50, log_end=100, high_watermark=60)
    assert effects == (RestartAt(offset=10, below_high_watermark=50),)


def test_a_divergence_that_cuts_nothing_is_told_by_no_effect() -> None:
    assert diverging(3, 200, own=[(3, 50)], log_end=100) == NOTHING


def test_out_of_range_asks_the_leader_where_its_log_is() -> None:
    follower = following()
    assert follower.on_error(OUT_OF_RANGE, now_ms=0, backoff_ms_max=1_000) == (AskRange(),)
    assert follower.phase is Phase.ASKING


def test_a_log_that_ends_before_its_leader_starts_begins_anew_there() -> None:
    follower = following()
    follower.on_error(OUT_OF_RANGE, now_ms=0, backoff_ms_max=1_000)
    assert follower.on_range(500, 900, log=OwnLog(0, 100), high_watermark=100) == (RestartAt(offset=500),)
    assert follower.phase is Phase.FETCHING


def test_a_log_that_ends_behind_its_leader_is_cut_at_the_leaders_end() -> None:
    assert following().on_range(0, 90, log=OwnLog(0, 100), high_watermark=90) == cut_to(90)


def test_a_log_wholly_behind_its_leader_begins_anew_at_the_leaders_end() -> None:
    effects = following().on_range(0, 90, log=OwnLog(95, 100), high_watermark=98)
    assert effects == (RestartAt(offset=90, below_high_watermark=8),)


def test_a_log_in_the_range_after_all_is_left_alone() -> None:
    assert following().on_range(0, 120, log=OwnLog(0, 100), high_watermark=90) == NOTHING


def test_errors_pause_longer_and_longer_up_to_the_limit() -> None:
    follower = following()
    pauses = []
    for _ in range(6):
        assert follower.on_error(NOT_LEADER, now_ms=1_000, backoff_ms_max=100) == NOTHING
        pauses.append(follower.due_ms - 1_000)
        assert follower.on_due(follower.due_ms)
    assert pauses == [10, 20, 40, 80, 100, 100]


def test_records_end_a_series_of_errors() -> None:
    follower = following()
    for _ in range(4):
        follower.on_error(NOT_LEADER, now_ms=0, backoff_ms_max=1_000)
    follower.on_records()
    follower.on_error(NOT_LEADER, now_ms=0, backoff_ms_max=1_000)
    assert follower.due_ms == BACKOFF_MS_MIN


def test_a_pause_is_not_over_early_nor_ended_by_an_older_timer() -> None:
    follower = following()
    follower.delay(500)
    assert not follower.on_due(499)
    assert follower.phase is Phase.DELAYED
    assert follower.on_due(500)
    assert not follower.on_due(600)
    assert follower.phase is Phase.FETCHING


def test_a_new_epoch_ends_whatever_went_on() -> None:
    for interrupt in (
        lambda f: f.delay(10**9),
        lambda f: f.stop(),
        lambda f: f.on_error(OUT_OF_RANGE, now_ms=0, backoff_ms_max=1),
    ):
        follower = following(7)
        interrupt(follower)
        follower.follow(2, 8)
        assert (follower.leader, follower.leader_epoch, follower.phase) == (2, 8, Phase.FETCHING)


def test_a_refused_question_for_the_range_is_an_error_like_others() -> None:
    follower = following()
    follower.on_error(OUT_OF_RANGE, now_ms=0, backoff_ms_max=1_000)
    assert follower.on_error(OUT_OF_RANGE, now_ms=5, backoff_ms_max=1_000) == NOTHING
    assert (follower.phase, follower.due_ms) == (Phase.DELAYED, 5 + BACKOFF_MS_MIN)
