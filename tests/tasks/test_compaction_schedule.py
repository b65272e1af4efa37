"""When a compaction is due, when it is overdue, and what the rows of long runs mean."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from broker import tasks
from broker.jobs import brokers, compaction_schedule, runs
from broker.jobs.health import health
from broker.models import JobRun

pytestmark = pytest.mark.django_db


def ended(seconds_ago: float, state: JobRun.State = JobRun.State.SUCCEEDED, **values: Any) -> JobRun:
    defaults: dict[str, Any] = {"kind": JobRun.Kind.COMPACTION, "broker_id": 1, "detail": {"backoff_ms": 15_000}}
    finished_at = timezone.now() - timedelta(seconds=seconds_ago)
    return JobRun.objects.create(**{**defaults, "state": state, "finished_at": finished_at, **values})


def test_a_broker_that_was_never_compacted_is_due() -> None:
    assert compaction_schedule.is_due(1)


def test_after_a_run_comes_the_brokers_own_pause() -> None:
    ended(10)
    assert not compaction_schedule.is_due(1)
    assert compaction_schedule.is_due(2)
    JobRun.objects.update(finished_at=timezone.now() - timedelta(seconds=16))
    assert compaction_schedule.is_due(1)
    JobRun.objects.update(detail={"backoff_ms": 600_000})
    assert not compaction_schedule.is_due(1)


@pytest.mark.parametrize("state", [JobRun.State.QUEUED, JobRun.State.RUNNING])
def test_nothing_is_due_while_a_run_waits_or_is_under_way(state: JobRun.State) -> None:
    ended(100)
    JobRun.objects.create(kind=JobRun.Kind.COMPACTION, broker_id=1, state=state)
    assert not compaction_schedule.is_due(1)


def test_a_failure_counts_as_an_end() -> None:
    ended(3, JobRun.State.FAILED)
    assert not compaction_schedule.is_due(1)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[int, ...], str]]:
    found: list[tuple[tuple[int, ...], str]] = []

    class Task:
        @staticmethod
        def apply_async(arguments: tuple[int, ...], *, queue: str) -> None:
            found.append((arguments, queue))

    monkeypatch.setattr(tasks, "run_compaction", Task)
    monkeypatch.setattr(brokers, "internal_addresses", lambda: {1: "a:1", 2: "b:2"})
    return found


def test_each_broker_gets_its_run_on_its_own_queue(sent: list[tuple[tuple[int, ...], str]]) -> None:
    first, second = tasks.scheduled_compaction()
    assert sent == [((first,), "maintenance.1"), ((second,), "maintenance.2")]
    assert tasks.scheduled_compaction() == [], "the first ones still wait"


def test_a_queue_nobody_consumes_gets_another_message_only_after_a_while(
    sent: list[tuple[tuple[int, ...], str]],
) -> None:
    tasks.scheduled_compaction()
    JobRun.objects.update(queued_at=timezone.now() - timedelta(seconds=tasks.COMPACTION_PICKED_UP_SECONDS_MAX + 1))
    tasks.scheduled_compaction()
    assert JobRun.objects.filter(state=JobRun.State.CANCELLED, error__contains="No worker").count() == 2


def test_a_run_that_reports_progress_is_not_lost_however_long_it_takes() -> None:
    long_ago = timezone.now() - timedelta(seconds=runs.RUN_SECONDS_MAX + 1)
    job = JobRun.objects.create(
        kind=JobRun.Kind.COMPACTION, broker_id=1, state=JobRun.State.RUNNING, started_at=long_ago
    )
    runs.report_progress(job, 1, 100)
    assert runs.release_lost() == 0
    JobRun.objects.update(seen_at=long_ago)
    assert runs.release_lost() == 1


def test_compaction_that_did_not_happen_is_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.jobs.health.seconds_since_seen", lambda: 1.0)
    monkeypatch.setattr(brokers, "internal_addresses", lambda: {1: "a:1"})
    (never,) = health().compaction
    assert never.overdue
    ended(100)
    assert not health().compaction_overdue
    JobRun.objects.update(finished_at=timezone.now() - timedelta(seconds=130))
    ended(5, JobRun.State.FAILED, error="There is no log directory here.")
    (overdue,) = health().compaction_overdue
    assert overdue.error == "There is no log directory here."
    assert not health(watched_seconds=60.0).compaction_overdue
    JobRun.objects.create(kind=JobRun.Kind.COMPACTION, broker_id=1, state=JobRun.State.RUNNING)
    assert not health().compaction_overdue, "a long run is no overdue one"


def test_a_long_pause_is_no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.jobs.health.seconds_since_seen", lambda: 1.0)
    monkeypatch.setattr(brokers, "internal_addresses", lambda: {1: "a:1"})
    ended(1_000, detail={"backoff_ms": 600_000})
    assert not health().compaction_overdue
