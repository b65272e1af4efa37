"""The life of a ``JobRun`` row: queued, claimed, finished, cancelled, trimmed.

Every change of state is one conditional UPDATE, so workers need no lock: of two that claim the same run, or two
runs of the same broker, one wins and the other does nothing. A run whose worker died is found by its age.

What is kept: a scheduled run that found nothing to do says only "I ran", so the latest few per broker stay; failures
of the schedule repeat every half minute while a broker is down, so some dozens stay; whatever deleted something or
was asked for by a person stays for months, up to a bound.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from broker.models import JobRun

logger = logging.getLogger(__name__)

RUN_SECONDS_MAX = 120
"""A run that was begun, or reported progress, longer ago has lost its worker: a short task's hard time limit is below,
and a long one reports every second."""
TURN_SILENT_SECONDS_MAX = 90
"""The same for work in turns, which says something twice a second, unless the brokers do not answer."""
UNEVENTFUL_KEPT = 20
SCHEDULED_FAILURES_KEPT = 50
OTHERS_KEPT = 500
KEPT_FOR = timedelta(days=90)
DETAIL_ROWS_MAX = 100
"""Entries of one list in ``detail``; beyond it only the count is kept."""
ERROR_LENGTH_MAX = 2_000

State = JobRun.State


def queue(
    kind: str, broker_id: int, *, topic: str = "", trigger: str = JobRun.Trigger.BEAT, requested_by: str = ""
) -> JobRun:
    return JobRun.objects.create(
        kind=kind, broker_id=broker_id, topic=topic, trigger=trigger, requested_by=requested_by
    )


def claim(job_id: int) -> JobRun | None:
    """Make a queued run ours; None when it is gone, taken, cancelled, or another run of the same broker is under way."""
    release_lost()
    try:
        with transaction.atomic():
            claimed = JobRun.objects.filter(pk=job_id, state=State.QUEUED).update(
                state=State.RUNNING, started_at=Coalesce("started_at", timezone.now())
            )
    except IntegrityError:
        JobRun.objects.filter(pk=job_id, state=State.QUEUED).update(
            state=State.CANCELLED,
            finished_at=timezone.now(),
            error="Another run for this broker was under way and does the same work.",
        )
        return None
    return JobRun.objects.get(pk=job_id) if claimed else None


def report_progress(job: JobRun, done: int, total: int) -> None:
    JobRun.objects.filter(pk=job.pk, state=State.RUNNING).update(
        progress_done=done, progress_total=total, seen_at=timezone.now()
    )


def is_cancel_requested(job: JobRun) -> bool:
    """True also when the row is no longer ours to finish (released as lost, deleted)."""
    return not JobRun.objects.filter(pk=job.pk, state=State.RUNNING, cancel_requested=False).exists()


def is_pause_requested(job: JobRun) -> bool:
    return JobRun.objects.filter(pk=job.pk, pause_requested=True).exists()


def set_paused(job_id: int, paused: bool) -> bool:
    """A paused run begins nothing new. False: it has ended, or cannot be paused."""
    return bool(
        JobRun.objects.filter(pk=job_id, kind__in=JobRun.IN_TURNS, state__in=(State.QUEUED, State.RUNNING)).update(
            pause_requested=paused
        )
    )


def report_seen(job: JobRun) -> None:
    """Its worker is there, although there is no progress."""
    JobRun.objects.filter(pk=job.pk, state=State.RUNNING).update(seen_at=timezone.now())


def save_detail(job: JobRun, detail: Mapping[str, Any]) -> None:
    JobRun.objects.filter(pk=job.pk, state=State.RUNNING).update(detail=dict(detail), seen_at=timezone.now())


def queue_again(job: JobRun) -> bool:
    """This turn is over; whoever claims the run next goes on."""
    return bool(JobRun.objects.filter(pk=job.pk, state=State.RUNNING).update(state=State.QUEUED))


def requeue_lost() -> list[JobRun]:
    """Runs in turns whose worker is gone, queued again. They may be sent twice: claiming decides."""
    deadline = timezone.now() - timedelta(seconds=TURN_SILENT_SECONDS_MAX)
    in_turns = JobRun.objects.filter(kind__in=JobRun.IN_TURNS)
    silent = Q(seen_at__isnull=True, started_at__lt=deadline) | Q(seen_at__lt=deadline)
    in_turns.filter(silent, state=State.RUNNING).update(state=State.QUEUED)
    return list(in_turns.filter(state=State.QUEUED, queued_at__lt=deadline))


def other_cluster_work(job: JobRun) -> JobRun | None:
    """Of two that change the whole cluster, the one that began first goes on."""
    earlier = Q(started_at__lt=job.started_at) | Q(started_at=job.started_at, pk__lt=job.pk)
    return JobRun.objects.filter(earlier, kind__in=JobRun.IN_TURNS, state__in=(State.QUEUED, State.RUNNING)).first()


def finish(
    job: JobRun,
    state: State,
    *,
    segments_deleted: int = 0,
    bytes_freed: int = 0,
    error: str = "",
    detail: Mapping[str, Any] | None = None,
) -> bool:
    """End a running run; False when it was not running any more (it was given up as lost)."""
    return bool(
        JobRun.objects.filter(pk=job.pk, state=State.RUNNING).update(
            state=state,
            finished_at=timezone.now(),
            segments_deleted=segments_deleted,
            bytes_freed=bytes_freed,
            error=error[:ERROR_LENGTH_MAX],
            detail=dict(detail or {}),
        )
    )


def cancel(job_id: int) -> bool:
    """Cancel a waiting run at once, ask a running one to stop at its next step. False: it had ended already."""
    # One in turns that was begun has moves to take back: its worker does that.
    begun = Q(kind__in=JobRun.IN_TURNS, started_at__isnull=False)
    if JobRun.objects.filter(begun, pk=job_id, state=State.QUEUED).update(cancel_requested=True):
        return True
    waiting = JobRun.objects.filter(pk=job_id, state=State.QUEUED).update(
        state=State.CANCELLED, finished_at=timezone.now(), cancel_requested=True
    )
    if waiting:
        return True
    return bool(JobRun.objects.filter(pk=job_id, state=State.RUNNING).update(cancel_requested=True))


def release_lost() -> int:
    """Fail runs whose worker is gone, so that they neither block their broker nor look alive forever."""
    deadline = timezone.now() - timedelta(seconds=RUN_SECONDS_MAX)
    silent = Q(seen_at__isnull=True, started_at__lt=deadline) | Q(seen_at__lt=deadline)
    released = (
        JobRun.objects.filter(silent, state=State.RUNNING)
        .exclude(kind__in=JobRun.IN_TURNS)
        .update(
            state=State.FAILED,
            finished_at=timezone.now(),
            error="The worker that ran this is gone. What was done stays done; the next run continues.",
        )
    )
    if released:
        logger.warning("gave up %d runs whose worker is gone", released)
    return released


def expire_queued(kind: str, older_than: timedelta) -> int:
    """Cancel scheduled runs that nobody picked up: newer ones of the same kind do their work."""
    return JobRun.objects.filter(
        kind=kind, state=State.QUEUED, trigger=JobRun.Trigger.BEAT, queued_at__lt=timezone.now() - older_than
    ).update(state=State.CANCELLED, finished_at=timezone.now(), error="No worker picked it up in time.")


def trim(kind: str) -> int:
    """Delete what is not worth keeping; returns how many rows."""
    finished = JobRun.objects.filter(kind=kind, state__in=JobRun.FINISHED)
    uneventful = Q(trigger=JobRun.Trigger.BEAT, state=State.SUCCEEDED, segments_deleted=0)
    scheduled_failure = Q(trigger=JobRun.Trigger.BEAT, state__in=(State.FAILED, State.CANCELLED))
    removed = 0
    for broker_id in finished.order_by().values_list("broker_id", flat=True).distinct():
        of_broker = finished.filter(broker_id=broker_id)
        removed += _keep_newest(of_broker.filter(uneventful), UNEVENTFUL_KEPT)
        removed += _keep_newest(of_broker.filter(scheduled_failure), SCHEDULED_FAILURES_KEPT)
        removed += _keep_newest(of_broker.exclude(uneventful).exclude(scheduled_failure), OTHERS_KEPT)
    removed += finished.filter(queued_at__lt=timezone.now() - KEPT_FOR).delete()[0]
    return removed


def _keep_newest(rows: Any, count: int) -> int:
    oldest_kept = rows.order_by("-id").values_list("id", flat=True)[count - 1 : count].first()
    return 0 if oldest_kept is None else rows.filter(id__lt=oldest_kept).delete()[0]


def bounded(rows: list[Any]) -> dict[str, Any]:
    """A list for ``detail``: its first entries and how many there are."""
    return {"count": len(rows), "rows": rows[:DETAIL_ROWS_MAX]}


def newest(kind: str, broker_id: int, state: State) -> JobRun | None:
    rows = JobRun.objects.filter(kind=kind, broker_id=broker_id, state=state)
    return rows.order_by(F("finished_at").desc(nulls_last=True)).first()
