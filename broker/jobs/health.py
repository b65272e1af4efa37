"""Is background work being done? The facts behind two alerts, for whoever shows them.

"No worker seen" means nobody would take a job. "Retention is overdue" (or compaction) means nobody *did* for too long,
whatever the reason: no schedule, a worker that is alive but stuck or on another machine, a broker that refuses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import redis
from django.conf import settings
from django.utils import timezone

from broker.jobs import brokers, compaction_schedule, runs
from broker.jobs.heartbeat import HEARTBEAT_SECONDS, seconds_since_seen
from broker.models import JobRun

WORKER_SILENT_SECONDS = 4 * HEARTBEAT_SECONDS
OVERDUE_INTERVALS = 4
"""Retention and compaction are overdue after this many intervals without a success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFact:
    """One kind of work on one broker."""

    broker_id: int
    succeeded_seconds_ago: float | None
    """None: never."""
    error: str
    """Why the latest run failed; empty when it did not."""
    overdue: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsHealth:
    worker_seen_seconds_ago: float | None
    """None: not for a week, or Redis cannot be asked."""
    worker_missing: bool
    queue_error: str
    """Why Redis cannot be asked; empty when it can."""
    retention: tuple[WorkFact, ...]
    compaction: tuple[WorkFact, ...] = ()

    @property
    def retention_overdue(self) -> tuple[WorkFact, ...]:
        return tuple(fact for fact in self.retention if fact.overdue)

    @property
    def compaction_overdue(self) -> tuple[WorkFact, ...]:
        return tuple(fact for fact in self.compaction if fact.overdue)


def health(watched_seconds: float = float("inf")) -> JobsHealth:
    """The facts now. ``watched_seconds``: how long the caller has been watching — nothing is called missing or
    overdue before it could have been seen, so a start after a quiet night raises no alarm."""
    queue_error, seen = "", None
    try:
        seen = seconds_since_seen()
    except redis.RedisError as error:
        queue_error = str(error) or type(error).__name__
    return JobsHealth(
        worker_seen_seconds_ago=seen,
        worker_missing=_too_old(seen, WORKER_SILENT_SECONDS, watched_seconds),
        queue_error=queue_error,
        retention=tuple(_retention(broker_id, watched_seconds) for broker_id in brokers.internal_addresses()),
        compaction=tuple(_compaction(broker_id, watched_seconds) for broker_id in brokers.internal_addresses()),
    )


def _retention(broker_id: int, watched_seconds: float) -> WorkFact:
    limit = OVERDUE_INTERVALS * settings.RETENTION_INTERVAL_SECONDS
    return _work(JobRun.Kind.RETENTION, broker_id, limit, watched_seconds)


def _compaction(broker_id: int, watched_seconds: float) -> WorkFact:
    """A run under way is not overdue, however long it takes: one that is stuck is given up as lost."""
    pause = max(settings.COMPACTION_INTERVAL_SECONDS, compaction_schedule.pause_seconds(broker_id))
    limit = OVERDUE_INTERVALS * (pause + settings.COMPACTION_INTERVAL_SECONDS)
    fact = _work(JobRun.Kind.COMPACTION, broker_id, limit, watched_seconds)
    return replace(fact, overdue=False) if compaction_schedule.is_running(broker_id) else fact


def _work(kind: str, broker_id: int, limit_seconds: float, watched_seconds: float) -> WorkFact:
    succeeded = runs.newest(kind, broker_id, JobRun.State.SUCCEEDED)
    failed = runs.newest(kind, broker_id, JobRun.State.FAILED)
    age = _age_seconds(succeeded)
    failed_age = _age_seconds(failed)
    failed_since = failed is not None and failed_age is not None and (age is None or failed_age < age)
    return WorkFact(
        broker_id=broker_id,
        succeeded_seconds_ago=age,
        error=failed.error if failed is not None and failed_since else "",
        overdue=_too_old(age, limit_seconds, watched_seconds),
    )


def _too_old(age_seconds: float | None, limit_seconds: float, watched_seconds: float) -> bool:
    return watched_seconds > limit_seconds and (age_seconds is None or age_seconds > limit_seconds)


def _age_seconds(job: JobRun | None) -> float | None:
    if job is None or job.finished_at is None:
        return None
    return max(0.0, (timezone.now() - job.finished_at).total_seconds())
