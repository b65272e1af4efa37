"""What the tasks do with rows and messages; the work itself is another test's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from broker import tasks
from broker.jobs import retention, runs
from broker.models import JobRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Broker ids of the runs that were carried out, all successfully."""
    brokers: list[int | None] = []

    def run(job: JobRun) -> JobRun:
        brokers.append(job.broker_id)
        runs.finish(job, JobRun.State.SUCCEEDED)
        job.refresh_from_db()
        return job

    monkeypatch.setattr(retention, "run", run)
    return brokers


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    messages: list[Any] = []
    monkeypatch.setattr(tasks.run_retention, "delay", messages.append)
    return messages


def test_the_schedule_of_one_broker_is_worked_off_at_once(ran: list[int], settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = ["127.0.0.1:1"]
    (job_id,) = tasks.scheduled_retention()
    assert ran == [1]
    job = JobRun.objects.get(pk=job_id)
    assert (job.state, job.trigger) == (JobRun.State.SUCCEEDED, JobRun.Trigger.BEAT)


def test_several_brokers_get_a_message_each(ran: list[int], sent: list[int], settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
    job_ids = tasks.scheduled_retention()
    assert sent == job_ids
    assert ran == []
    assert sorted(JobRun.objects.values_list("broker_id", flat=True)) == [1, 2, 3]


def test_a_message_delivered_twice_works_once(ran: list[int]) -> None:
    job = runs.queue(JobRun.Kind.RETENTION, 1)
    assert [tasks.run_retention(job.pk), tasks.run_retention(job.pk)] == ["succeeded", ""]
    assert ran == [1]


def test_a_message_for_a_cancelled_run_does_nothing(ran: list[int]) -> None:
    job = runs.queue(JobRun.Kind.RETENTION, 1)
    runs.cancel(job.pk)
    assert tasks.run_retention(job.pk) == ""
    assert ran == []


def test_the_schedule_clears_up_behind_lost_workers(ran: list[int], settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = ["127.0.0.1:1"]
    lost = runs.claim(runs.queue(JobRun.Kind.RETENTION, 1).pk)
    assert lost is not None
    JobRun.objects.filter(pk=lost.pk).update(started_at=timezone.now() - timedelta(hours=1))
    tasks.scheduled_retention()
    lost.refresh_from_db()
    assert lost.state == JobRun.State.FAILED
    assert ran == [1]


def test_a_request_is_queued_now_and_sent_after_commit(
    sent: list[int], settings: Settings, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = ["127.0.0.1:1", "127.0.0.1:2"]
    with django_capture_on_commit_callbacks(execute=True):
        jobs = tasks.request_retention("ada", topic="orders")
        assert sent == []
    assert sent == [job.pk for job in jobs]
    assert {(job.broker_id, job.topic, job.requested_by, job.trigger, job.state) for job in jobs} == {
        (1, "orders", "ada", "person", "queued"),
        (2, "orders", "ada", "person", "queued"),
    }


def test_a_request_can_be_about_one_broker(sent: list[int], settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = ["127.0.0.1:1", "127.0.0.1:2"]
    assert [job.broker_id for job in tasks.request_retention("ada", broker_id=2)] == [2]


def test_the_beat_schedule_names_a_task_that_exists(settings: Settings) -> None:
    from dashboard.project.celery import app

    entry = settings.CELERY_BEAT_SCHEDULE["retention"]
    assert entry["task"] == tasks.scheduled_retention.name
    assert entry["task"] in app.tasks
    assert entry["schedule"] == tasks.RETENTION_INTERVAL_SECONDS
