"""Brokers that disagree: the newer word wins, a page never goes back to an older leader and never shows two."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.telemetry.sample import PartitionSample
from dashboard.live.delta import Gap, advance
from dashboard.live.replication_rows import ControllerRow, PartitionRow
from dashboard.live.state import CLUSTER, CONTROL, BrokerRow, ScopeState, broker_scope, topic_scope
from tests.dashboard.samples import START_MS, Bench
from tests.dashboard.three import BROKERS, controlled, placed, replicated, says, start


def row(bench: Bench, number: int = 0) -> PartitionRow:
    return bench.model.partitions["orders"][number]


def test_the_higher_leader_epoch_wins_whoever_tells_it(bench: Bench) -> None:
    start(bench)
    bench.feed(says(2, 2, placed(leader=2, leader_epoch=2, partition_epoch=2, isr=[2, 3], cause="leader_failed")))
    bench.step()
    assert (row(bench).leader, row(bench).leader_epoch, row(bench).isr) == (2, 2, [2, 3])
    # The deposed leader goes on saying that it leads.
    bench.feed(says(1, 2, placed(records=140)))
    bench.step()
    assert (row(bench).leader, row(bench).source, row(bench).high_watermark) == (2, 2, 100)


def test_a_leader_seen_once_is_not_taken_back_when_its_broker_falls_silent(bench: Bench) -> None:
    start(bench)
    bench.feed(says(2, 2, placed(leader=2, leader_epoch=2, partition_epoch=2)))
    bench.step()
    bench.model.silent(2, since_ms=START_MS + 2000, trouble="no route")
    bench.step()
    assert row(bench).leader == 2
    assert row(bench).source != 2, "its numbers come from a log of a broker that answers"


def test_a_follower_that_heard_first_does_not_take_the_numbers_from_the_leader(bench: Bench) -> None:
    start(bench)
    bench.feed(says(3, 2, placed(partition_epoch=2, isr=[1, 3], records=60)))
    bench.step()
    assert (row(bench).isr, row(bench).source, row(bench).log_end_offset) == ([1, 3], 1, 100)


def test_a_topic_made_anew_is_not_confused_with_what_a_silent_broker_knew_of_the_old_one(bench: Bench) -> None:
    start(bench, placed(leader_epoch=9))
    bench.model.silent(3, since_ms=START_MS, trouble="gone")
    for broker in (1, 2):
        another = msgspec.structs.replace(replicated(), topic_id="another")
        bench.feed(says(broker, 2, placed(leader_epoch=0), topics=[another]))
    bench.step()
    assert row(bench).leader_epoch == 0


def test_followers_count_by_their_leaders_word_of_its_own_epoch(bench: Bench) -> None:
    start(bench, placed(followers=[(2, 100, START_MS), (3, 40, START_MS - 5000)]))
    assert [(one.broker, one.lag, one.caught_up_ms) for one in row(bench).followers] == [
        (2, 0, START_MS),
        (3, 60, START_MS - 5000),
    ]
    bench.feed(says(2, 2, placed(leader=2, leader_epoch=2, partition_epoch=2, isr=[2, 3])))
    bench.step()
    assert [(one.broker, one.lag) for one in row(bench).followers] == [(1, None), (3, None)], "nothing is told yet"


def test_what_nobody_leads_is_offline_with_the_reason_though_its_brokers_are_gone(bench: Bench) -> None:
    start(bench)
    for broker in (1, 3):
        bench.model.silent(broker, since_ms=START_MS + 1000, trouble="refused")
    lost = placed(leader=-1, isr=[], elr=[3], leader_epoch=2, partition_epoch=2, last_known_leader=1, replicas=[1, 3])
    bench.feed(says(2, 2, lost))
    bench.step()
    assert row(bench).offline
    assert row(bench).offline_reason == "No replica is in sync; broker 3 would have everything."


def test_two_controllers_are_shown_as_the_one_with_the_higher_epoch(bench: Bench) -> None:
    start(bench)
    elected = controlled(epoch=2, by=2, gone=(1,))
    bench.feed(says(2, 2, control=elected, controller_id=2))
    bench.feed(says(1, 2))
    bench.step()
    control = bench.model.controller
    assert (control.broker, control.epoch) == (2, 2)
    assert [one.id for one in bench.model.brokers.values() if one.is_controller] == [2]
    bench.model.silent(2, since_ms=START_MS, trouble="gone")
    bench.step()
    assert bench.model.controller.broker == 2, "broker 1 was replaced and does not decide again"


def test_who_left_is_told_by_the_metadata_although_its_process_still_answers(bench: Bench) -> None:
    start(bench)
    bench.feed(says(2, 2, control=controlled(epoch=2, by=2, gone=(1,)), controller_id=2))
    bench.step()
    gone = bench.model.brokers[1]
    assert (gone.online, gone.live, gone.left_at_ms) == (True, False, START_MS + 500)


# The law --------------------------------------------------------------------------------------------


@dataclass
class Partition:
    """What the controller has written so far, and how far each broker has read."""

    history: list[PartitionSample] = field(default_factory=lambda: [placed()])
    read: dict[int, int] = field(default_factory=lambda: dict.fromkeys(BROKERS, 0))
    told: dict[int, int] = field(default_factory=lambda: dict.fromkeys(BROKERS, 1))

    def elect(self, leader: int) -> None:
        last = self.history[-1]
        self.history.append(
            placed(
                leader=leader,
                leader_epoch=last.leader_epoch + 1,
                partition_epoch=last.partition_epoch + 1,
                cause="leader_failed",
            )
        )

    def shrink(self, isr: list[int]) -> None:
        last = self.history[-1]
        self.history.append(
            placed(
                leader=last.leader,
                leader_epoch=last.leader_epoch,
                partition_epoch=last.partition_epoch + 1,
                isr=sorted({*isr, last.leader}),
                cause="isr_shrunk",
            )
        )


steps = st.one_of(
    st.tuples(st.just("elect"), st.sampled_from(BROKERS)),
    st.tuples(st.just("shrink"), st.lists(st.sampled_from(BROKERS), max_size=3)),
    st.tuples(st.just("read"), st.sampled_from(BROKERS)),
    st.tuples(st.just("sample"), st.sampled_from(BROKERS)),
    st.tuples(st.just("silence"), st.sampled_from(BROKERS)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=3, max_size=50))
def test_leadership_on_a_page_only_moves_forward_and_is_never_two(life: list[tuple]) -> None:
    """Brokers read the controller's decisions late and out of step; whatever order their samples come in, what a page shows
    of one partition is a state the controller wrote, never an earlier one than before, and the newest that anybody told."""
    bench, world = Bench(), Partition()
    start(bench)
    scopes = (topic_scope("orders"), *(broker_scope(one) for one in BROKERS))
    states = {scope: bench.store.read([scope]).scopes.get(scope, ScopeState()) for scope in scopes}
    shown, newest_told = 0, 0
    for step in life:
        match step:
            case ("elect", leader):
                world.elect(leader)
            case ("shrink", isr):
                world.shrink(isr)
            case ("read", broker):
                world.read[broker] = min(world.read[broker] + 1, len(world.history) - 1)
            case ("sample", broker):
                world.told[broker] += 1
                said = world.history[world.read[broker]]
                newest_told = max(newest_told, world.read[broker])
                bench.feed(says(broker, world.told[broker], said, topics=[replicated()]))
            case ("silence", broker):
                bench.model.silent(broker, since_ms=START_MS, trouble="silent")
        for frame in bench.step(set(scopes)).frames:
            if frame.scope in states:
                try:
                    states[frame.scope] = advance(states[frame.scope], frame)
                except Gap:
                    states[frame.scope] = bench.store.read([frame.scope]).scopes[frame.scope]
        row = states[topic_scope("orders")].rows["partition:000000"]
        assert isinstance(row, PartitionRow)
        position = next(
            index
            for index, one in enumerate(world.history)
            if (one.leader, one.leader_epoch, one.partition_epoch, one.isr)
            == (row.leader, row.leader_epoch, row.partition_epoch, row.isr)
        )
        assert position >= shown
        assert position == newest_told
        shown = position
        leading = [
            one
            for one in BROKERS
            for replica in states[broker_scope(one)].rows.values()
            if getattr(replica, "leads", False)
        ]
        assert leading == [row.leader], "every page names the same leader"


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(BROKERS), st.integers(1, 6)), min_size=1, max_size=30))
def test_the_controller_on_a_page_only_moves_forward_and_is_never_two(life: list[tuple[int, int]]) -> None:
    bench = Bench()
    start(bench)
    told = dict.fromkeys(BROKERS, 1)
    known = dict.fromkeys(BROKERS, 1)
    newest = 1
    for broker, epoch in life:
        epoch = max(known[broker], epoch)  # a broker itself never reads backwards
        known[broker], told[broker], newest = epoch, told[broker] + 1, max(newest, epoch)
        by = BROKERS[epoch % 3]
        control = controlled(epoch=epoch, by=by) if epoch > 1 else controlled()
        who = by if epoch > 1 else 1
        bench.feed(says(broker, told[broker], control=control, revision=epoch, controller_id=who))
        bench.step()
        rows = bench.store.read([CONTROL, CLUSTER])
        shown = rows.rows(CONTROL)[ControllerRow.KEY]
        assert isinstance(shown, ControllerRow)
        assert shown.epoch == newest
        named = [one.id for one in rows.rows(CLUSTER).values() if isinstance(one, BrokerRow) and one.is_controller]
        assert named == [shown.broker]
