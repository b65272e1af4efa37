"""How background work is doing, as the Jobs page says it: one sentence, the alerts, when the next round is due."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from broker.jobs.health import JobsHealth, health
from broker.models import JobRun
from dashboard.collector.facts import jobs_alerts
from dashboard.live.state import AlertRow

FREED_HOURS = 24
_started = time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    health: JobsHealth
    alerts: Sequence[AlertRow]
    next_due: datetime | None
    """``None`` when the schedule has never run."""
    is_late: bool
    active_count: int
    failed_count: int
    """In the last 24 hours, like what follows."""
    freed_bytes: int
    segments_deleted: int

    @property
    def level(self) -> str:
        return "warn" if self.alerts or self.health.queue_error or self.is_late else "good"

    @property
    def verdict(self) -> str:
        if self.health.queue_error:
            return "The job queue cannot be asked: jobs wait until Redis is back."
        if self.health.worker_missing:
            return "No worker is there: jobs wait until one is back."
        if self.health.retention_overdue:
            brokers = ", ".join(str(fact.broker_id) for fact in self.health.retention_overdue)
            return f"Retention is overdue on broker {brokers}."
        if self.health.compaction_overdue:
            brokers = ", ".join(str(fact.broker_id) for fact in self.health.compaction_overdue)
            return f"Compaction is overdue on broker {brokers}."
        if self.is_late:
            return "The schedule is late: nothing has queued a round in time."
        if self.active_count:
            return f"{self.active_count} {'run is' if self.active_count == 1 else 'runs are'} waiting or under way."
        return "Everything that was due has been done."


def read_status() -> Status:
    facts = health(time.monotonic() - _started)
    since = timezone.now() - timedelta(hours=FREED_HOURS)
    recent = JobRun.objects.filter(queued_at__gte=since)
    freed = recent.filter(segments_deleted__gt=0).values_list("bytes_freed", "segments_deleted")
    next_due = _next_due()
    return Status(
        health=facts,
        alerts=jobs_alerts(facts),
        next_due=next_due,
        is_late=next_due is not None and timezone.now() > next_due + timedelta(seconds=_interval()),
        active_count=JobRun.objects.filter(state__in=(JobRun.State.QUEUED, JobRun.State.RUNNING)).count(),
        failed_count=recent.filter(state=JobRun.State.FAILED).count(),
        freed_bytes=sum(size for size, _ in freed),
        segments_deleted=sum(count for _, count in freed),
    )


def _next_due() -> datetime | None:
    scheduled = JobRun.objects.filter(kind=JobRun.Kind.RETENTION, trigger=JobRun.Trigger.BEAT)
    latest = scheduled.values_list("queued_at", flat=True).first()
    return None if latest is None else latest + timedelta(seconds=_interval())


def _interval() -> int:
    return int(settings.RETENTION_INTERVAL_SECONDS)
