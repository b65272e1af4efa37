"""Any history of elections, clean or not: the follower ends with its leader's log, and keeps all they shared."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ErrorCode
from broker.replication.follower import AskRange, Follower, Phase
from tests.replication.model_log import OUT_OF_RANGE, ModelLog, agree_naively, answer


@dataclass(frozen=True)
class Reign:
    """One leader's time: what it appends, how far the other gets, what it deletes of the beginning."""

    leader: int
    appended: int
    copied: int
    deleted: int


reigns = st.builds(
    Reign,
    leader=st.integers(0, 1),
    appended=st.integers(0, 4),
    copied=st.integers(0, 5),
    deleted=st.sampled_from((0, 0, 0, 1, 3)),
)


def play(history: list[Reign]) -> list[ModelLog]:
    logs = [ModelLog(), ModelLog()]
    for epoch, reign in enumerate(history):
        leader, other = logs[reign.leader], logs[1 - reign.leader]
        leader.lead(epoch)
        for _ in range(reign.appended):
            leader.append(epoch)
        if reign.copied:
            agree_naively(other, leader)
            other.copy_from(leader, reign.copied)
        leader.delete_below(leader.log_start_offset + reign.deleted)
    return logs


def follow(own: ModelLog, leader: ModelLog) -> int:
    """Until the logs agree; how many answers that took."""
    follower = Follower()
    follower.follow(1, 1_000)
    for round_ in range(1_000):
        found = answer(leader, own.log_end_offset, own.index.latest)
        if found is None:
            return round_
        if found == OUT_OF_RANGE:
            effects = follower.on_error(int(ErrorCode.OFFSET_OUT_OF_RANGE), now_ms=0, backoff_ms_max=0)
            assert effects == (AskRange(),)
            effects = follower.on_range(
                leader.log_start_offset, leader.log_end_offset, log=own, high_watermark=own.log_start_offset
            )
        else:
            assert not isinstance(found, str)
            effects = follower.on_diverging(
                *found, own_end=own.end_offset_for_epoch, log=own, high_watermark=own.log_start_offset
            )
        assert effects, f"no way from {own.records()} to {leader.records()} by {found}"
        own.perform(effects)
        assert follower.phase is Phase.FETCHING
    raise AssertionError("never agreed")


@given(history=st.lists(reigns, max_size=12), leads=st.integers(0, 1))
def test_a_follower_ends_with_its_leaders_log_and_keeps_what_they_share(history: list[Reign], leads: int) -> None:
    logs = play(history)
    leader, own = logs[leads], logs[1 - leads]
    leader.lead(len(history))
    own.follow()
    shared = set(own.records()) & set(leader.records())
    rounds = follow(own, leader)
    assert shared <= set(own.records()), "what both had is not cut"
    assert rounds <= len(history) + 2, "every answer settles an epoch"
    own.copy_from(leader, 10**6)
    own.delete_below(leader.log_start_offset)
    assert own.records() == [record for record in leader.records() if record[0] >= own.log_start_offset]
    for offset, epoch in own.records():
        assert own.index.epoch_at(offset) == leader.index.epoch_at(offset) == epoch
