"""The Celery tasks of the broker's background work.

Tasks carry ids and nothing else; a run's facts are in its ``JobRun`` row. Each may be delivered twice, late or to two
workers at once: claiming the row decides who works (``jobs/runs.py``), and the broker re-validates every deletion.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from celery import shared_task
from celery.signals import celeryd_init
from django.conf import settings
from django.db import transaction

from broker.jobs import brokers, retention, runs
from broker.jobs.worker_step import WorkerHeartbeat
from broker.models import JobRun

logger = logging.getLogger(__name__)

RETENTION_INTERVAL_SECONDS: int = settings.RETENTION_INTERVAL_SECONDS
SOFT_SECONDS_MAX = 90
HARD_SECONDS_MAX = 110

assert SOFT_SECONDS_MAX < HARD_SECONDS_MAX < runs.RUN_SECONDS_MAX


@celeryd_init.connect
def install_heartbeat(instance: Any = None, **_: Any) -> None:
    """Every worker of this project says regularly that it is alive."""
    instance.app.steps["consumer"].add(WorkerHeartbeat)


@shared_task(
    name="broker.retention",
    expires=RETENTION_INTERVAL_SECONDS,
    soft_time_limit=SOFT_SECONDS_MAX,
    time_limit=HARD_SECONDS_MAX,
)
def scheduled_retention() -> list[int]:
    """Beat's half-minute round: one run per broker. Returns the ids of the runs."""
    runs.release_lost()
    runs.expire_queued(timedelta(seconds=2 * RETENTION_INTERVAL_SECONDS))
    jobs = [runs.queue(JobRun.Kind.RETENTION, broker_id) for broker_id in brokers.internal_addresses()]
    if len(jobs) == 1:
        _run(jobs[0].pk)
    else:
        # Brokers do not wait for each other: one that hangs must not hold up the others' disks.
        for job in jobs:
            run_retention.delay(job.pk)
    runs.trim(JobRun.Kind.RETENTION)
    return [job.pk for job in jobs]


@shared_task(name="broker.retention_run", soft_time_limit=SOFT_SECONDS_MAX, time_limit=HARD_SECONDS_MAX)
def run_retention(job_id: int) -> str:
    """One queued run. Returns its state; empty when it was not ours to run."""
    return _run(job_id)


def request_retention(requested_by: str, *, topic: str = "", broker_id: int | None = None) -> list[JobRun]:
    """A person asks for retention now: rows at once, messages when the transaction has committed."""
    broker_ids = list(brokers.internal_addresses()) if broker_id is None else [broker_id]
    jobs = [
        runs.queue(
            JobRun.Kind.RETENTION,
            one,
            topic=topic,
            trigger=JobRun.Trigger.PERSON,
            requested_by=requested_by,
        )
        for one in broker_ids
    ]
    for job in jobs:
        transaction.on_commit(lambda job_id=job.pk: run_retention.delay(job_id))  # type: ignore[misc]
    return jobs


def _run(job_id: int) -> str:
    job = runs.claim(job_id)
    if job is None:
        logger.info("run %d is not ours: taken, cancelled or gone", job_id)
        return ""
    return retention.run(job).state
