"""The run of a rolling restart over a model of three brokers: what is in its row, how it is paused, cancelled and stopped."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import pytest

from broker import tasks
from broker.jobs import brokers, rolling_restart, runs, turns
from broker.models import JobRun
from broker.rebalancing.rolling import LIMIT_SECONDS, Deed, Phase, Step
from broker.rebalancing.standing import ClusterStanding
from broker.supervisor.control_client import SupervisorRefused, SupervisorUnreachable
from broker.types import TopicPartition
from tests.rebalancing.world import World

pytestmark = pytest.mark.django_db

LOOKS = 4
"""Until a restarted broker is there again."""


class Stage:
    """The model as the driver reaches it: as client, as supervisor, and as what looks at the cluster."""

    def __init__(self) -> None:
        self.world = World()
        self.run_by_supervisor = [1, 2, 3]
        self.reachable = True
        self.looks_until_back = LOOKS
        self.actors: list[str] = []

    # The client.
    def set_broker_state(self, broker: int, state: str) -> None:
        self.world.perform(Deed.DRAIN if state == "draining" else Deed.TAKE_BACK, Step(broker=broker), 0)

    def elect_leaders(self, partitions: list[TopicPartition]) -> None:
        for key in partitions:
            self.world.perform(Deed.ELECT, Step(broker=key.partition), 0)

    # What looks.
    def look(self) -> ClusterStanding:
        return self.world.look(1)[0]

    # The supervisor.
    def status(self) -> dict[str, Any]:
        if not self.reachable:
            raise SupervisorUnreachable("nobody listens")
        return {"services": [self._service(one) for one in self.run_by_supervisor]}

    def _service(self, broker: int) -> dict[str, Any]:
        starting = broker in self.world.away
        state = "starting" if starting else "ready"
        return {"name": f"broker-{broker}", "pid": self.world.pids[broker], "state": state, "last_exit": ""}

    def change(self, command: str, name: str, actor: str, *, pid: int) -> None:
        broker = int(name.removeprefix("broker-"))
        if pid != self.world.pids[broker]:
            raise SupervisorRefused(f"{name} has another process by now")
        assert command == "restart"
        self.actors.append(actor)
        self.world.perform(Deed.RESTART, Step(broker=broker, pid=pid), self.looks_until_back)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage()
    monkeypatch.setattr(brokers, "open_cluster_client", lambda: nullcontext(made))
    monkeypatch.setattr(rolling_restart, "ClusterWatch", lambda client: client)
    monkeypatch.setattr(rolling_restart, "SupervisorClient", lambda path: made)
    monkeypatch.setattr(turns, "POLL_SECONDS", 0.0)
    return made


def queued(**detail: object) -> JobRun:
    return JobRun.objects.create(
        kind=JobRun.Kind.ROLLING_RESTART, trigger=JobRun.Trigger.PERSON, requested_by="operator", detail=detail
    )


def run(job: JobRun) -> str:
    return tasks.run_rolling_restart(job.pk)


def carried_out(job: JobRun) -> JobRun:
    run(job)
    return JobRun.objects.get(pk=job.pk)


def phases(job: JobRun) -> dict[int, str]:
    return {step["broker"]: step["phase"] for step in job.detail["steps"]}


def limit(monkeypatch: pytest.MonkeyPatch, phase: Phase, seconds: float) -> None:
    monkeypatch.setitem(LIMIT_SECONDS, phase, seconds)  # type: ignore[misc]


def test_every_broker_is_restarted_once_in_the_order_that_was_shown(stage: Stage) -> None:
    job = carried_out(queued(brokers=[2, 3, 1]))
    assert (job.state, job.error, job.progress_done, job.progress_total) == ("succeeded", "", 3, 3)
    assert list(phases(job).items()) == [(2, "done"), (3, "done"), (1, "done")]
    assert stage.world.restarts == {1: 1, 2: 1, 3: 1}
    assert (stage.world.leaders, stage.world.draining) == ({1: 1, 2: 2, 3: 3}, set())
    assert stage.actors == ["operator"] * 3


def test_without_an_order_it_is_all_of_them(stage: Stage) -> None:
    job = carried_out(queued())
    assert job.detail["brokers"] == [1, 2, 3]
    assert stage.world.restarts == {1: 1, 2: 1, 3: 1}


def test_it_goes_on_from_its_row_however_often_it_changes_hands(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count(1)
    monkeypatch.setattr(turns.Turn, "over", property(lambda turn: next(looks) % 3 == 0))
    monkeypatch.setattr(tasks, "_send_turn", lambda kind, job_id: None)
    job = queued(brokers=[2, 1])
    outcomes = list(itertools.takewhile(lambda outcome: outcome == "again", iter(lambda: run(job), "")))
    assert len(outcomes) > 3
    assert JobRun.objects.get(pk=job.pk).state == "succeeded"
    assert stage.world.restarts == {1: 1, 2: 1, 3: 0}


@pytest.mark.parametrize(
    ("reachable", "said"),
    [
        (True, "The supervisor of the worker's machine does not run broker 3."),
        (False, "No supervisor runs broker 2 on the worker's machine."),
    ],
)
def test_none_is_touched_when_one_of_them_runs_elsewhere(stage: Stage, reachable: bool, said: str) -> None:
    stage.run_by_supervisor, stage.reachable = [1, 2], reachable
    job = carried_out(queued(brokers=[2, 3, 1]))
    assert job.state == "failed"
    assert job.error.startswith(
        f"{said} Restart it where it runs: on its machine with “systemctl restart ottla-broker@"
    )
    assert not any(stage.world.restarts.values())


def test_a_broker_that_does_not_exist_is_named(stage: Stage) -> None:
    assert carried_out(queued(brokers=[7])).error == "There is no broker 7."


def test_it_stops_by_itself_when_somebody_is_missing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, Phase.WAITING, 0.01)
    stage.world.silent.add(3)
    job = carried_out(queued(brokers=[2, 1]))
    assert (job.state, job.error) == ("failed", "Broker 3 does not answer. That did not change for 0.01 s.")
    assert not any(stage.world.restarts.values())


def test_a_broker_that_does_not_come_back_ends_it_and_is_not_left_draining(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, Phase.RESTARTING, 0.05)
    stage.looks_until_back = 10**6
    job = carried_out(queued(brokers=[2, 3, 1]))
    assert (job.state, phases(job)) == ("failed", {2: "restarting", 3: "waiting", 1: "waiting"})
    assert job.error == "Its new process is starting. That did not change for 0.05 s."
    assert (stage.world.restarts, stage.world.draining) == ({1: 0, 2: 1, 3: 0}, set())


def test_it_pauses_between_brokers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []

    def paused(job: JobRun) -> bool:
        row = JobRun.objects.get(pk=job.pk)
        if len(waited) < 5 and stage.world.restarts[2] and phases(row)[2] == "done":
            assert stage.world.restarts[1] == 0
            waited.append(row.detail.get("idle_reason", ""))
        return stage.world.restarts[2] > 0 and len(waited) < 5

    monkeypatch.setattr(runs, "is_pause_requested", paused)
    job = carried_out(queued(brokers=[2, 1]))
    assert (job.state, phases(job)) == ("succeeded", {2: "done", 1: "done"})
    assert waited[:5] == ["Paused when broker 2 is back.", *["Paused: broker 1 is next."] * 4]
    assert "idle_reason" not in job.detail


def test_cancelled_before_the_broker_is_down_it_is_taken_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "is_cancel_requested", lambda job: bool(stage.world.draining))
    job = carried_out(queued(brokers=[2, 3, 1]))
    assert (job.state, job.error, phases(job)[2]) == ("cancelled", "", "draining")
    assert (stage.world.draining, stage.world.leaders) == (set(), {1: 1, 2: 2, 3: 3})
    assert not any(stage.world.restarts.values())


def test_cancelled_while_a_broker_is_down_it_is_brought_back_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "is_cancel_requested", lambda job: stage.world.restarts[2] > 0)
    job = carried_out(queued(brokers=[2, 3, 1]))
    assert (job.state, phases(job)) == ("cancelled", {2: "done", 3: "waiting", 1: "waiting"})
    assert (stage.world.restarts, stage.world.leaders) == ({1: 0, 2: 1, 3: 0}, {1: 1, 2: 2, 3: 3})


def test_a_supervisor_that_refuses_is_quoted_and_asked_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    original, said = stage.change, []

    def change(command: str, name: str, actor: str, *, pid: int) -> None:
        said.extend(step["says"] for step in JobRun.objects.get().detail["steps"] if step["phase"] == "restarting")
        if len(said) < 3:
            raise SupervisorRefused("another change of broker-2 is under way")
        original(command, name, actor, pid=pid)

    monkeypatch.setattr(stage, "change", change)
    assert carried_out(queued(brokers=[2])).state == "succeeded"
    assert said[0] == "Its process is asked to stop."


def test_one_run_changes_the_cluster_at_a_time(stage: Stage) -> None:
    other = runs.claim(JobRun.objects.create(kind=JobRun.Kind.REBALANCE).pk)
    assert other is not None
    job = carried_out(queued(brokers=[2]))
    assert job.error == f"Run {other.pk} changes the cluster at the moment: wait for it, or cancel it."
    assert not any(stage.world.restarts.values())
