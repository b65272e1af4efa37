"""The next step of a rolling restart: each broker once, never two at a time, whoever dies in between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.rebalancing.rolling import LIMIT_SECONDS, Decision, Deed, Phase, Process, Situation, Step, decide
from broker.rebalancing.standing import BrokerStanding, ClusterStanding, PartitionStanding
from broker.types import TopicPartition
from tests.rebalancing.world import World

ORDERS = TopicPartition("orders", 0)
OLD, NEW = 100, 200
"""Pids of broker 1 before and after."""


def partition(**values: object) -> PartitionStanding:
    known: dict[str, object] = {"leader": 1, "replicas": (1, 2, 3), "isr": (1, 2, 3), "min_isr": 2, **values}
    return PartitionStanding(key=ORDERS, **known)  # type: ignore[arg-type]


def cluster(*partitions: PartitionStanding, others: BrokerStanding | None = None, **first: object) -> ClusterStanding:
    known: dict[str, object] = {"incarnation": "old", "ends": {ORDERS: 10}, **first}
    brokers = [BrokerStanding(id=1, **known), others or BrokerStanding(id=2), BrokerStanding(id=3)]  # type: ignore[arg-type]
    return ClusterStanding(
        brokers={one.id: one for one in brokers}, partitions={one.key: one for one in partitions or (partition(),)}
    )


def at(phase: Phase, **values: object) -> Step:
    known: dict[str, object] = {"incarnation": "old", "pid": OLD, "began_ms": 1_000, "since_ms": 1_000, **values}
    return Step(broker=1, phase=phase, **known)  # type: ignore[arg-type]


HERE = Process(pid=OLD)


def look(seen: ClusterStanding, *, process: Process | None = HERE, **values: object) -> Situation:
    return Situation(now_ms=5_000, cluster=seen, process=process, **values)  # type: ignore[arg-type]


def phases(decision: Decision) -> tuple[Phase, Deed | None, str]:
    return decision.step.phase, decision.deed, decision.halt


NEW_LIFE = {"incarnation": "new", "state": "draining"}
FOLLOWED = partition(leader=2)
GONE = partition(leader=2, isr=(2, 3))
SICK = BrokerStanding(id=2, answers=False)


@pytest.mark.parametrize(
    ("step", "situation", "wanted"),
    [
        (Step(broker=1), look(cluster()), (Phase.DRAINING, None)),
        (Step(broker=1), look(cluster(others=SICK)), (Phase.WAITING, None)),
        (Step(broker=1), look(cluster(live=False)), (Phase.WAITING, None)),
        (Step(broker=1), look(cluster(), process=None), (Phase.WAITING, None)),
        (at(Phase.DRAINING), look(cluster()), (Phase.DRAINING, Deed.DRAIN)),
        (at(Phase.DRAINING), look(cluster(state="draining")), (Phase.DRAINING, None)),
        (at(Phase.DRAINING), look(cluster(others=SICK)), (Phase.DRAINING, None)),
        (at(Phase.DRAINING), look(cluster(FOLLOWED, state="draining")), (Phase.RESTARTING, None)),
        (at(Phase.DRAINING), look(cluster(partition(replicas=(1,), isr=(1,)))), (Phase.RESTARTING, None)),
        (at(Phase.DRAINING), look(cluster(FOLLOWED, **NEW_LIFE)), (Phase.RETURNING, None)),
        (at(Phase.RESTARTING), look(cluster(FOLLOWED)), (Phase.RESTARTING, Deed.RESTART)),
        (at(Phase.RESTARTING), look(cluster(FOLLOWED, others=SICK)), (Phase.RESTARTING, None)),
        (at(Phase.RESTARTING), look(cluster(FOLLOWED, live=False)), (Phase.RESTARTING, None)),
        (at(Phase.RESTARTING), look(cluster(), process=Process(pid=OLD, stopping=True)), (Phase.RESTARTING, None)),
        (at(Phase.RESTARTING), look(cluster(GONE), process=Process(pid=None)), (Phase.RESTARTING, None)),
        (at(Phase.RESTARTING), look(cluster(GONE), process=Process(pid=NEW)), (Phase.RESTARTING, None)),
        (at(Phase.RESTARTING), look(cluster(GONE), process=None), (Phase.RESTARTING, None)),
        (at(Phase.RESTARTING), look(cluster(GONE, **NEW_LIFE), process=Process(pid=OLD)), (Phase.RETURNING, None)),
        (at(Phase.RETURNING), look(cluster(GONE, **NEW_LIFE)), (Phase.RETURNING, None)),
        (at(Phase.RETURNING), look(cluster(FOLLOWED, **NEW_LIFE, settled=False)), (Phase.RETURNING, None)),
        (at(Phase.RETURNING), look(cluster(FOLLOWED, **NEW_LIFE, offline=["orders-0"])), (Phase.RETURNING, None)),
        (at(Phase.RETURNING), look(cluster(FOLLOWED, **NEW_LIFE)), (Phase.VERIFYING, None)),
        (at(Phase.VERIFYING), look(cluster(FOLLOWED, **NEW_LIFE)), (Phase.VERIFYING, None)),
        (
            at(Phase.VERIFYING),
            look(cluster(FOLLOWED, **NEW_LIFE), before=cluster(replace(FOLLOWED, high_watermark=11))),
            (Phase.VERIFYING, None),
        ),
        (
            at(Phase.VERIFYING),
            look(cluster(FOLLOWED, **NEW_LIFE), before=cluster(replace(FOLLOWED, high_watermark=10))),
            (Phase.LEADING, None),
        ),
        (at(Phase.LEADING), look(cluster(FOLLOWED, **NEW_LIFE)), (Phase.LEADING, Deed.TAKE_BACK)),
        (at(Phase.LEADING), look(cluster(FOLLOWED, incarnation="new")), (Phase.LEADING, Deed.ELECT)),
        (at(Phase.LEADING), look(cluster(FOLLOWED, incarnation="new", others=SICK)), (Phase.LEADING, None)),
        (at(Phase.LEADING), look(cluster(incarnation="new")), (Phase.DONE, None)),
        (at(Phase.DONE), look(cluster()), (Phase.DONE, None)),
    ],
)
def test_what_is_seen_decides_what_is_next(step: Step, situation: Situation, wanted: tuple[Phase, Deed | None]) -> None:
    assert phases(decide(step, situation)) == (*wanted, "")


def test_before_it_is_touched_its_life_is_remembered() -> None:
    step = decide(Step(broker=1), look(cluster())).step
    assert (step.incarnation, step.pid, step.began_ms) == ("old", OLD, 5_000)
    assert Step.from_row(step.as_row()) == step


def test_what_would_be_interrupted_ends_it_unless_somebody_agreed() -> None:
    alone = cluster(partition(replicas=(1,), isr=(1,)))
    halted = decide(Step(broker=1), look(alone))
    assert halted.halt == "Nobody could use orders-0 while broker 1 is away: it has the only copy."
    assert phases(decide(Step(broker=1), look(alone, may_interrupt=True))) == (Phase.DRAINING, None, "")
    assert decide(at(Phase.RESTARTING), look(alone)).deed is None, "it may have become so since"


def test_a_broker_that_somebody_else_drains_ends_it() -> None:
    assert decide(Step(broker=1), look(cluster(state="draining"))).halt == (
        "Broker 1 is draining: somebody else is at it."
    )


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
def test_what_does_not_change_for_its_limit_ends_it(phase: Phase) -> None:
    sick = cluster(GONE, others=SICK)
    limit_ms = int(LIMIT_SECONDS[phase] * 1_000)
    waits = decide(at(phase, left=0), replace(look(sick), now_ms=1_000 + limit_ms))
    assert (waits.halt, waits.step.phase) == ("", phase)
    ends = decide(at(phase, left=0), replace(look(sick), now_ms=1_001 + limit_ms))
    assert ends.halt == f"Broker 2 does not answer. That did not change for {LIMIT_SECONDS[phase]:g} s."
    assert ends.step.says == ends.halt


def test_what_comes_nearer_to_its_end_is_given_its_time_again() -> None:
    first = decide(at(Phase.RETURNING, left=2), look(cluster(GONE, **NEW_LIFE))).step
    assert (first.left, first.since_ms) == (1, 5_000)
    again = decide(first, replace(look(cluster(GONE, **NEW_LIFE)), now_ms=9_000)).step
    assert (again.left, again.since_ms) == (1, 5_000)
    worse = decide(again, replace(look(cluster(partition(leader=2, isr=(2,)), **NEW_LIFE)), now_ms=9_500)).step
    assert (worse.left, worse.since_ms) == (1, 5_000)


@given(st.lists(st.tuples(st.sampled_from(["acts", "dies before", "dies after", "acts twice"]), st.integers(1, 6))))
def test_each_is_restarted_once_and_none_while_another_is_missing(course: list[tuple[str, int]]) -> None:
    world = World()
    steps = [Step(broker=one) for one in (2, 3, 1)]
    before: ClusterStanding | None = None
    turns = iter(course)
    for _ in range(500):
        index = next((number for number, step in enumerate(steps) if step.phase is not Phase.DONE), None)
        if index is None:
            break
        how, looks = next(turns, ("acts", 1))
        seen, process = world.look(steps[index].broker)
        assert len(world.in_sync) >= 2
        situation = Situation(now_ms=world.now_ms, cluster=seen, before=before, process=process)
        decision = decide(steps[index], situation)
        assert decision.halt == ""
        before = seen if decision.step.phase is steps[index].phase else None
        steps[index] = decision.step
        if how.startswith("dies"):
            before = None  # whoever comes next has what is in the row, and nothing else
        if decision.deed is not None and how != "dies before":
            for _ in range(2 if how == "acts twice" else 1):
                world.perform(decision.deed, decision.step, looks)
    assert [step.phase for step in steps] == [Phase.DONE] * 3
    assert world.restarts == {1: 1, 2: 1, 3: 1}
    assert (world.leaders, world.draining) == ({1: 1, 2: 2, 3: 3}, set())
