"""The replication core, by example and against a deliberately naive twin."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.errors import ErrorCode
from broker.partition.state import ADVANCED, NOTHING, TOO_FEW, PartitionState, ProposeIsr

LAG_MS = 10_000


def leader(*, replicas=(1, 2, 3), isr=(1, 2, 3), min_insync=1, log_end=0, high_watermark=0, epoch=0) -> PartitionState:
    state = PartitionState(1, min_insync_replicas=min_insync)
    state.become_leader(
        leader_epoch=epoch,
        partition_epoch=0,
        replicas=tuple(replicas),
        isr=frozenset(isr),
        log_end_offset=log_end,
        high_watermark=high_watermark,
        now_ms=0,
    )
    return state


def test_a_single_copy_commits_with_the_append() -> None:
    state = leader(replicas=(1,), isr=(1,))
    assert state.on_append(10) is ADVANCED
    assert state.high_watermark == 10


def test_a_single_copy_that_starts_with_a_log_exposes_all_of_it() -> None:
    assert leader(replicas=(1,), isr=(1,), log_end=42).high_watermark == 42


def test_the_high_watermark_waits_for_every_in_sync_replica() -> None:
    state = leader()
    assert state.on_append(10) is NOTHING
    assert state.on_follower_fetch(2, 10, now_ms=1) is NOTHING
    assert state.on_follower_fetch(3, 7, now_ms=1) == ADVANCED
    assert state.high_watermark == 7


def test_the_high_watermark_stands_while_too_few_replicas_are_in_sync() -> None:
    state = leader(isr=(1,), min_insync=2)
    assert state.on_append(10) is NOTHING
    assert state.high_watermark == 0


def test_more_copies_than_replicas_are_not_asked_for() -> None:
    state = leader(replicas=(1,), isr=(1,), min_insync=2)
    assert state.append_refusal(-1) is None
    assert state.on_append(3) is ADVANCED


def test_acks_all_is_refused_while_too_few_replicas_are_in_sync() -> None:
    state = leader(replicas=(1, 2, 3), isr=(1,), min_insync=2)
    assert state.append_refusal(-1) is ErrorCode.NOT_ENOUGH_REPLICAS
    assert state.append_refusal(1) is None


def test_lowering_min_insync_replicas_releases_what_waited_for_it() -> None:
    state = leader(isr=(1,), min_insync=2)
    state.on_append(10)
    assert state.set_min_insync_replicas(1) == ADVANCED
    assert state.high_watermark == 10


def test_a_lagging_follower_is_proposed_to_leave_and_still_counts_until_it_is_decided() -> None:
    state = leader()
    state.on_append(10)
    state.on_follower_fetch(2, 10, now_ms=LAG_MS)
    assert state.on_tick(now_ms=LAG_MS + 1, lag_ms_max=LAG_MS) == (
        ProposeIsr(isr=frozenset({1, 2}), leader_epoch=0, partition_epoch=0),
    )
    assert state.high_watermark == 0
    assert state.on_isr_decided(frozenset({1, 2}), 1) == ADVANCED
    assert state.high_watermark == 10


def test_a_follower_that_is_caught_up_stays_however_long_nothing_is_written() -> None:
    state = leader()
    state.on_append(10)
    for replica in (2, 3):
        state.on_follower_fetch(replica, 10, now_ms=1)
    assert state.on_tick(now_ms=LAG_MS * 100, lag_ms_max=LAG_MS) is NOTHING


def test_a_follower_that_keeps_up_with_a_growing_log_stays() -> None:
    state = leader(replicas=(1, 2), isr=(1, 2))
    end = 0
    for now in range(0, LAG_MS * 5, 1_000):
        fetched, end = end, end + 100
        state.on_append(end)
        state.on_follower_fetch(2, fetched, now_ms=now)
        assert state.on_tick(now_ms=now, lag_ms_max=LAG_MS) is NOTHING


def test_a_follower_joins_when_it_has_all_that_is_committed() -> None:
    state = leader(isr=(1, 2))
    state.on_append(10)
    state.on_follower_fetch(2, 10, now_ms=1)
    assert state.on_follower_fetch(3, 9, now_ms=1) is NOTHING
    assert state.on_follower_fetch(3, 10, now_ms=2) == (
        ProposeIsr(isr=frozenset({1, 2, 3}), leader_epoch=0, partition_epoch=0),
    )


def test_a_joining_follower_counts_from_the_moment_it_is_proposed() -> None:
    state = leader(isr=(1, 2))
    state.on_append(10)
    state.on_follower_fetch(2, 10, now_ms=1)
    state.on_follower_fetch(3, 10, now_ms=1)
    state.on_append(20)
    assert state.on_follower_fetch(2, 20, now_ms=2) is NOTHING
    assert state.high_watermark == 10


def test_a_new_leader_admits_nobody_who_misses_what_earlier_epochs_wrote() -> None:
    state = leader(isr=(1,), log_end=100, high_watermark=50)
    assert state.high_watermark == 100
    assert state.on_follower_fetch(2, 99, now_ms=1) is NOTHING
    assert state.on_follower_fetch(2, 100, now_ms=1) != NOTHING


def test_decisions_of_an_older_partition_epoch_are_ignored() -> None:
    state = leader()
    state.on_isr_decided(frozenset({1, 2}), 5)
    assert state.on_isr_decided(frozenset({1}), 5) is NOTHING
    assert state.isr == {1, 2}


def test_epochs_of_clients_are_compared() -> None:
    state = leader(epoch=5)
    assert state.epoch_refusal(-1) is None
    assert state.epoch_refusal(5) is None
    assert state.epoch_refusal(4) is ErrorCode.FENCED_LEADER_EPOCH
    assert state.epoch_refusal(6) is ErrorCode.UNKNOWN_LEADER_EPOCH


def test_a_follower_refuses_appends_and_never_exposes_more_than_it_has() -> None:
    state = leader(replicas=(1,), isr=(1,), log_end=10)
    state.become_follower(leader=2, leader_epoch=1, partition_epoch=1, replicas=(1, 2), isr=frozenset({2}))
    assert state.append_refusal(1) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    state.on_truncated(6)
    assert state.high_watermark == 6
    assert state.on_leader_high_watermark(100, 8) == ADVANCED
    assert state.high_watermark == 8
    assert state.on_leader_high_watermark(7, 9) is NOTHING
    assert (state.high_watermark, state.log_end_offset) == (8, 9)


def test_a_log_that_is_shorter_than_its_checkpoint_exposes_what_there_is() -> None:
    assert PartitionState(1, log_end_offset=7, high_watermark=9).high_watermark == 7


def test_a_follower_that_had_everything_for_long_has_its_time_from_the_append_on() -> None:
    state = leader(replicas=(1, 2), isr=(1, 2))
    state.on_append(10)
    state.on_follower_fetch(2, 10, now_ms=1)
    state.on_tick(now_ms=LAG_MS * 9, lag_ms_max=LAG_MS)
    state.on_append(20)
    assert state.on_tick(now_ms=LAG_MS * 10, lag_ms_max=LAG_MS) is NOTHING
    assert state.on_tick(now_ms=LAG_MS * 10 + 1, lag_ms_max=LAG_MS) != NOTHING


def test_a_follower_that_the_controller_refused_is_proposed_again_by_the_clock_when_it_has_nothing_new_to_fetch() -> (
    None
):
    state = leader(isr=(1, 2))
    state.on_append(10)
    state.on_follower_fetch(2, 10, now_ms=1, broker_epoch=7)
    assert state.on_follower_fetch(3, 10, now_ms=1, broker_epoch=8) != NOTHING
    state.on_proposal_refused(not_before_ms=500)
    assert state.on_follower_fetch(3, 10, now_ms=2, broker_epoch=8) is NOTHING
    assert state.on_tick(now_ms=499, lag_ms_max=LAG_MS, broker_epochs={2: 7, 3: 8}) is NOTHING
    assert state.on_tick(now_ms=500, lag_ms_max=LAG_MS, broker_epochs={2: 7, 3: 9}) is NOTHING
    assert state.on_tick(now_ms=500, lag_ms_max=LAG_MS, broker_epochs={2: 7}) is NOTHING
    assert state.on_tick(now_ms=500, lag_ms_max=LAG_MS, broker_epochs={2: 7, 3: 8}) == (
        ProposeIsr(isr=frozenset({1, 2, 3}), leader_epoch=0, partition_epoch=0),
    )


def test_a_follower_with_a_registration_that_may_not_join_is_not_proposed() -> None:
    state = leader(isr=(1, 2))
    assert state.on_follower_fetch(3, 0, now_ms=1, broker_epoch=9, may_join=False) == NOTHING
    assert state.on_tick(now_ms=2, lag_ms_max=LAG_MS, broker_epochs={3: 8}) is NOTHING


def test_a_registration_that_is_heard_of_after_its_last_fetch_may_join_by_the_clock() -> None:
    state = leader(isr=(1, 2))
    state.on_follower_fetch(3, 0, now_ms=1, broker_epoch=9, may_join=False)
    assert state.on_tick(now_ms=2, lag_ms_max=LAG_MS, broker_epochs={3: 9}) != NOTHING


def test_a_member_that_lost_what_is_committed_is_proposed_to_leave_at_once() -> None:
    state = leader()
    state.on_append(10)
    for replica in (2, 3):
        state.on_follower_fetch(replica, 10, now_ms=1)
    assert state.on_follower_fetch(3, 4, now_ms=2) == (
        ProposeIsr(isr=frozenset({1, 2}), leader_epoch=0, partition_epoch=0),
    )
    assert state.high_watermark == 10


def test_offsets_are_settled_when_the_followers_have_confirmed_what_the_new_leader_has() -> None:
    state = leader(log_end=10, high_watermark=4)
    assert not state.offsets_are_settled
    state.on_follower_fetch(2, 10, now_ms=1)
    assert not state.offsets_are_settled
    state.on_follower_fetch(3, 10, now_ms=1)
    assert state.offsets_are_settled


def test_producers_are_told_once_when_too_few_are_in_sync() -> None:
    state = leader(min_insync=2)
    assert state.on_isr_decided(frozenset({1, 2}), 1) is NOTHING
    assert state.on_isr_decided(frozenset({1}), 2) == TOO_FEW
    assert state.on_isr_decided(frozenset({1}), 3) is NOTHING
    assert state.on_isr_decided(frozenset({1, 2}), 4) is NOTHING
    assert state.set_min_insync_replicas(3) == TOO_FEW


def test_a_leadership_that_begins_with_too_few_in_sync_tells_producers_of_the_one_before() -> None:
    state = PartitionState(1, min_insync_replicas=2)
    shape = {"partition_epoch": 0, "replicas": (1, 2), "log_end_offset": 0, "high_watermark": 0, "now_ms": 0}
    assert state.become_leader(leader_epoch=0, isr=frozenset({1, 2}), **shape) is NOTHING
    assert state.become_leader(leader_epoch=1, isr=frozenset({1}), **shape) == TOO_FEW


def test_a_leader_that_stood_still_itself_blames_nobody() -> None:
    state = leader()
    state.on_append(10)
    state.on_stood_still(now_ms=LAG_MS * 3)
    assert state.on_tick(now_ms=LAG_MS * 4, lag_ms_max=LAG_MS) is NOTHING
    assert state.on_tick(now_ms=LAG_MS * 4 + 1, lag_ms_max=LAG_MS) != NOTHING


def test_other_replicas_in_the_same_epoch_keep_what_is_known_of_those_that_stay() -> None:
    state = leader(replicas=(1, 2), isr=(1, 2))
    state.on_append(10)
    state.on_follower_fetch(2, 7, now_ms=1)
    state.on_isr_decided(frozenset({1, 2}), 1, replicas=(1, 2, 3))
    assert [state.followers[replica].log_end_offset for replica in (2, 3)] == [7, -1]
    state.on_isr_decided(frozenset({1}), 2, replicas=(3, 1))
    assert set(state.followers) == {3}
    assert state.high_watermark == 10


class NaiveTwin:
    """The definition, computed from scratch: committed is what everybody who counts has."""

    def __init__(self, replicas, isr, min_insync) -> None:
        self.replicas, self.isr, self.proposed, self.min_insync = set(replicas), set(isr), None, min_insync
        self.ends = dict.fromkeys(replicas, -1)
        self.ends[1] = 0
        self.high_watermark = 0

    def settle(self) -> None:
        if len(self.isr) >= min(self.min_insync, len(self.replicas)):
            counted = self.isr | (self.proposed or set())
            self.high_watermark = max(self.high_watermark, min(self.ends[replica] for replica in counted))


class PartitionStateMachine(RuleBasedStateMachine):
    """Appends, fetches, ticks and controller decisions in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.state = leader(min_insync=2)
        self.twin = NaiveTwin((1, 2, 3), (1, 2, 3), 2)
        self.now_ms = 0
        self.seen = 0

    def follow(self, effects) -> None:
        for effect in effects:
            if isinstance(effect, ProposeIsr):
                assert self.twin.proposed is None, "one proposal at a time"
                self.twin.proposed = set(effect.isr)
                assert effect.partition_epoch == self.state.partition_epoch
        self.twin.settle()

    @rule(count=st.integers(1, 5))
    def append(self, count) -> None:
        self.twin.ends[1] += count
        self.follow(self.state.on_append(self.twin.ends[1]))

    @rule(replica=st.sampled_from([2, 3]), back=st.integers(0, 6), may_join=st.booleans())
    def fetch(self, replica, back, may_join) -> None:
        offset = max(self.twin.ends[1] - back, self.twin.ends[replica], 0)
        self.twin.ends[replica] = offset
        self.follow(self.state.on_follower_fetch(replica, offset, now_ms=self.now_ms, may_join=may_join))

    @rule(replica=st.sampled_from([2, 3]), lost=st.integers(1, 6))
    def lose_data(self, replica, lost) -> None:
        """A follower whose disk forgot something asks for it again, whoever still counts it."""
        if self.twin.ends[replica] < 0:
            return
        offset = max(self.twin.ends[replica] - lost, 0)
        self.twin.ends[replica] = offset
        counted = replica in self.twin.isr and self.twin.proposed is None
        self.follow(self.state.on_follower_fetch(replica, offset, now_ms=self.now_ms))
        if counted and offset < self.state.high_watermark:
            assert self.twin.proposed == self.twin.isr - {replica}

    @rule(uncommitted=st.integers(0, 4))
    def lose_and_regain_leadership(self, uncommitted) -> None:
        """Another leader in between, that had all that is committed and some of what is not; ours follows it."""
        end = min(self.state.high_watermark + uncommitted, self.twin.ends[1])
        epoch = self.state.leader_epoch
        shape = {"replicas": (1, 2, 3), "isr": frozenset(self.twin.isr)}
        self.state.become_follower(leader=2, leader_epoch=epoch + 1, partition_epoch=0, **shape)
        self.state.on_truncated(end)
        self.twin.proposed = None
        self.twin.ends = {1: end, 2: -1, 3: -1}
        effects = self.state.become_leader(
            leader_epoch=epoch + 2,
            partition_epoch=0,
            log_end_offset=end,
            high_watermark=self.state.high_watermark,
            now_ms=self.now_ms,
            **shape,
        )
        self.follow(effects)

    @rule(milliseconds=st.integers(0, LAG_MS * 2))
    def pass_time(self, milliseconds) -> None:
        self.now_ms += milliseconds
        self.follow(self.state.on_tick(now_ms=self.now_ms, lag_ms_max=LAG_MS, broker_epochs={2: 0, 3: 0}))

    @precondition(lambda self: self.twin.proposed is not None)
    @rule()
    def grant(self) -> None:
        self.twin.isr, self.twin.proposed = set(self.twin.proposed), None
        self.follow(self.state.on_isr_decided(frozenset(self.twin.isr), self.state.partition_epoch + 1))

    @precondition(lambda self: self.twin.proposed is not None)
    @rule()
    def refuse(self) -> None:
        self.twin.proposed = None
        self.follow(self.state.on_proposal_refused())

    @rule(count=st.integers(1, 3))
    def reconfigure(self, count) -> None:
        self.twin.min_insync = count
        self.follow(self.state.set_min_insync_replicas(count))

    @invariant()
    def agrees_with_the_twin(self) -> None:
        assert self.state.high_watermark == self.twin.high_watermark
        assert self.state.isr == self.twin.isr

    @invariant()
    def only_moves_forward_and_never_beyond_the_log(self) -> None:
        assert self.seen <= self.state.high_watermark <= self.state.log_end_offset
        self.seen = self.state.high_watermark


TestPartitionStateMachine = PartitionStateMachine.TestCase
TestPartitionStateMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
