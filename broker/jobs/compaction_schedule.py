"""When compaction of a broker is due by schedule, and when it is overdue.

The pause between two runs is the broker's own ``log.cleaner.backoff.ms``; a run leaves it in its row, so the schedule
need not ask the broker to know.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from broker.jobs import runs
from broker.models import JobRun

SLACK_SECONDS = 2.0
"""Beat is not exact: a round that comes a little early is not skipped."""


def is_due(broker_id: int) -> bool:
    """No run of it is waiting or under way, and the last one ended long enough ago."""
    ours = JobRun.objects.filter(kind=JobRun.Kind.COMPACTION, broker_id=broker_id)
    if ours.filter(state__in=(JobRun.State.QUEUED, JobRun.State.RUNNING)).exists():
        return False
    latest = ours.filter(state__in=JobRun.FINISHED, finished_at__isnull=False).order_by("-finished_at").first()
    if latest is None or latest.finished_at is None:
        return True
    pause = timedelta(seconds=pause_seconds(broker_id) - SLACK_SECONDS)
    return timezone.now() - latest.finished_at >= pause


def pause_seconds(broker_id: int) -> float:
    """What the broker last said; the schedule's own interval if it has not been asked yet."""
    succeeded = runs.newest(JobRun.Kind.COMPACTION, broker_id, JobRun.State.SUCCEEDED)
    told_ms = succeeded.detail.get("backoff_ms") if succeeded is not None else None
    interval = float(settings.COMPACTION_INTERVAL_SECONDS)
    return interval if told_ms is None else float(told_ms) / 1000


def is_running(broker_id: int) -> bool:
    """A long run is no overdue one."""
    return JobRun.objects.filter(kind=JobRun.Kind.COMPACTION, broker_id=broker_id, state=JobRun.State.RUNNING).exists()
