"""The life of a run's row: every change is conditional, whoever loses does nothing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from broker.jobs import runs
from broker.models import JobRun

pytestmark = pytest.mark.django_db

State = JobRun.State
RETENTION = JobRun.Kind.RETENTION
BEAT = JobRun.Trigger.BEAT
PERSON = JobRun.Trigger.PERSON


def finished(state: str = State.SUCCEEDED, *, trigger: str = BEAT, segments: int = 0, broker_id: int = 1) -> JobRun:
    now = timezone.now()
    return JobRun.objects.create(
        kind=RETENTION,
        broker_id=broker_id,
        state=state,
        trigger=trigger,
        started_at=now,
        finished_at=now,
        segments_deleted=segments,
    )


def aged(job: JobRun, **fields: timedelta) -> JobRun:
    JobRun.objects.filter(pk=job.pk).update(**{name: timezone.now() - age for name, age in fields.items()})
    return job


def test_a_run_is_claimed_once() -> None:
    job = runs.queue(RETENTION, 1)
    claimed = runs.claim(job.pk)
    assert claimed is not None
    assert claimed.state == State.RUNNING
    assert claimed.started_at is not None
    assert runs.claim(job.pk) is None


def test_a_second_run_of_the_same_broker_steps_back_and_says_why() -> None:
    first, second, elsewhere = runs.queue(RETENTION, 1), runs.queue(RETENTION, 1), runs.queue(RETENTION, 2)
    assert runs.claim(first.pk)
    assert runs.claim(second.pk) is None
    second.refresh_from_db()
    assert second.state == State.CANCELLED
    assert "under way" in second.error
    assert runs.claim(elsewhere.pk)


def test_a_run_that_is_gone_cannot_be_claimed() -> None:
    assert runs.claim(12345) is None


def test_a_waiting_run_is_cancelled_at_once() -> None:
    job = runs.queue(RETENTION, 1)
    assert runs.cancel(job.pk)
    assert runs.claim(job.pk) is None
    assert not runs.cancel(job.pk)


def test_a_running_run_is_asked_to_stop() -> None:
    job = runs.claim(runs.queue(RETENTION, 1).pk)
    assert job is not None
    assert not runs.is_cancel_requested(job)
    assert runs.cancel(job.pk)
    assert runs.is_cancel_requested(job)


def test_a_run_whose_worker_is_gone_is_given_up_and_frees_its_broker() -> None:
    lost = runs.claim(runs.queue(RETENTION, 1).pk)
    assert lost is not None
    aged(lost, started_at=timedelta(seconds=runs.RUN_SECONDS_MAX + 1))
    assert runs.claim(runs.queue(RETENTION, 1).pk)
    lost.refresh_from_db()
    assert lost.state == State.FAILED
    assert "worker" in lost.error


def test_a_run_given_up_as_lost_cannot_finish_any_more() -> None:
    lost = runs.claim(runs.queue(RETENTION, 1).pk)
    assert lost is not None
    aged(lost, started_at=timedelta(seconds=runs.RUN_SECONDS_MAX + 1))
    runs.release_lost()
    assert runs.is_cancel_requested(lost)
    assert not runs.finish(lost, State.SUCCEEDED)
    lost.refresh_from_db()
    assert lost.state == State.FAILED


def test_progress_of_a_finished_run_is_not_overwritten() -> None:
    job = runs.claim(runs.queue(RETENTION, 1).pk)
    assert job is not None
    runs.report_progress(job, 1, 3)
    assert runs.finish(job, State.SUCCEEDED, segments_deleted=2, bytes_freed=99, detail={"planned": 3})
    runs.report_progress(job, 3, 3)
    job.refresh_from_db()
    assert (job.progress_done, job.progress_total, job.segments_deleted, job.bytes_freed) == (1, 3, 2, 99)


def test_scheduled_runs_nobody_took_are_cancelled_but_a_persons_wait() -> None:
    beat = aged(runs.queue(RETENTION, 1), queued_at=timedelta(minutes=5))
    person = aged(runs.queue(RETENTION, 1, trigger=PERSON), queued_at=timedelta(minutes=5))
    fresh = runs.queue(RETENTION, 1)
    assert runs.expire_queued(JobRun.Kind.RETENTION, timedelta(minutes=1)) == 1
    states = {job.pk: job.state for job in JobRun.objects.all()}
    assert states == {beat.pk: State.CANCELLED, person.pk: State.QUEUED, fresh.pk: State.QUEUED}


def test_uneventful_runs_do_not_push_out_the_eventful_ones() -> None:
    eventful = [finished(segments=2), finished(State.FAILED), finished(trigger=PERSON)]
    for _ in range(runs.UNEVENTFUL_KEPT + 15):
        finished()
    assert runs.trim(RETENTION) == 15
    assert JobRun.objects.filter(pk__in=[job.pk for job in eventful]).count() == 3
    assert JobRun.objects.count() == runs.UNEVENTFUL_KEPT + 3


def test_a_broker_that_is_down_for_days_does_not_fill_the_table() -> None:
    for _ in range(runs.SCHEDULED_FAILURES_KEPT + 5):
        finished(State.FAILED)
    other_broker = finished(State.FAILED, broker_id=2)
    assert runs.trim(RETENTION) == 5
    assert JobRun.objects.filter(pk=other_broker.pk).exists()


def test_old_rows_go_whatever_they_say_but_never_running_ones() -> None:
    old = aged(finished(segments=9), queued_at=runs.KEPT_FOR + timedelta(days=1))
    running = runs.claim(runs.queue(RETENTION, 1).pk)
    assert running is not None
    aged(running, queued_at=runs.KEPT_FOR + timedelta(days=1))
    assert runs.trim(RETENTION) == 1
    assert not JobRun.objects.filter(pk=old.pk).exists()
    assert JobRun.objects.filter(pk=running.pk).exists()


def test_a_run_describes_itself() -> None:
    job = runs.queue(RETENTION, 3, topic="orders")
    assert str(job) == "Retention of orders on broker 3: waiting for a worker"
    assert job.duration is None
    assert job.can_be_cancelled
    assert not job.is_finished


def test_long_lists_of_details_are_cut() -> None:
    assert runs.bounded(list(range(1_000))) == {"count": 1_000, "rows": list(range(runs.DETAIL_ROWS_MAX))}


def test_work_in_turns_is_queued_again_when_its_worker_is_gone_and_can_be_paused() -> None:
    job = JobRun.objects.create(kind=JobRun.Kind.REBALANCE, trigger=JobRun.Trigger.PERSON)
    claimed = runs.claim(job.pk)
    assert claimed is not None
    runs.report_seen(claimed)
    assert runs.requeue_lost() == []
    assert runs.set_paused(job.pk, True)
    assert runs.is_pause_requested(claimed)
    long_ago = timezone.now() - timedelta(hours=1)
    JobRun.objects.filter(pk=job.pk).update(seen_at=long_ago, queued_at=long_ago)
    assert runs.release_lost() == 0, "it is not failed"
    assert runs.requeue_lost() == [job]
    assert JobRun.objects.get(pk=job.pk).state == "queued"
    assert runs.cancel(job.pk)
    assert JobRun.objects.get(pk=job.pk).state == "queued", "its worker has moves to take back"


def test_only_work_on_the_whole_cluster_can_be_paused() -> None:
    assert not runs.set_paused(JobRun.objects.create(kind=JobRun.Kind.RETENTION, broker_id=1).pk, True)


def test_of_two_runs_that_change_the_cluster_the_one_that_began_first_goes_on() -> None:
    asked_first, asked_later = (
        JobRun.objects.create(kind=kind) for kind in (JobRun.Kind.REBALANCE, JobRun.Kind.ROLLING_RESTART)
    )
    began_first, began_later = runs.claim(asked_later.pk), runs.claim(asked_first.pk)
    assert began_first is not None
    assert began_later is not None
    assert runs.other_cluster_work(began_first) is None
    assert runs.other_cluster_work(began_later) == asked_later
    runs.finish(began_first, State.SUCCEEDED)
    assert runs.other_cluster_work(began_later) is None
