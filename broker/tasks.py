"""The Celery tasks of the broker's background work.

Tasks carry ids and nothing else; a run's facts are in its ``JobRun`` row. Each may be delivered twice, late or to two
workers at once: claiming the row decides who works (``jobs/runs.py``), and the broker re-validates every deletion and every swap.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from celery import current_app, shared_task
from celery.signals import celeryd_init
from django.conf import settings
from django.db import transaction

from broker.jobs import brokers, compaction, compaction_schedule, rebalance, retention, rolling_restart, runs
from broker.jobs.turns import TURN_SECONDS_MAX, Outcome
from broker.jobs.worker_step import WorkerHeartbeat
from broker.models import JobRun
from broker.supervisor.queues import maintenance_queue

logger = logging.getLogger(__name__)

RETENTION_INTERVAL_SECONDS: int = settings.RETENTION_INTERVAL_SECONDS
COMPACTION_INTERVAL_SECONDS: int = settings.COMPACTION_INTERVAL_SECONDS
SOFT_SECONDS_MAX = 90
HARD_SECONDS_MAX = 110

COMPACTION_SOFT_SECONDS_MAX = 3_300
"""A compaction ends by itself before; these are for one that hangs."""
COMPACTION_HARD_SECONDS_MAX = 3_400

COMPACTION_PICKED_UP_SECONDS_MAX = 300
"""A queue that no worker consumes gets another message only so often."""

TURN_SOFT_SECONDS_MAX = 900
TURN_HARD_SECONDS_MAX = 960

assert TURN_SECONDS_MAX < TURN_SOFT_SECONDS_MAX < TURN_HARD_SECONDS_MAX
assert compaction.RUN_SECONDS_MAX < COMPACTION_SOFT_SECONDS_MAX < COMPACTION_HARD_SECONDS_MAX
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
    for lost in runs.requeue_lost():
        _send_turn(lost.kind, lost.pk)
    runs.expire_queued(JobRun.Kind.RETENTION, timedelta(seconds=2 * RETENTION_INTERVAL_SECONDS))
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


@shared_task(
    name="broker.compaction",
    expires=COMPACTION_INTERVAL_SECONDS,
    soft_time_limit=SOFT_SECONDS_MAX,
    time_limit=HARD_SECONDS_MAX,
)
def scheduled_compaction() -> list[int]:
    """Beat's round: one run for each broker whose pause (log.cleaner.backoff.ms) is over and that has none under way.

    The runs go to the brokers' own queues, which only workers on their machines consume.
    """
    runs.release_lost()
    runs.expire_queued(JobRun.Kind.COMPACTION, timedelta(seconds=COMPACTION_PICKED_UP_SECONDS_MAX))
    jobs = [
        runs.queue(JobRun.Kind.COMPACTION, broker_id)
        for broker_id in brokers.internal_addresses()
        if compaction_schedule.is_due(broker_id)
    ]
    for job in jobs:
        _send_compaction(job)
    runs.trim(JobRun.Kind.COMPACTION)
    return [job.pk for job in jobs]


@shared_task(
    name="broker.compaction_run",
    soft_time_limit=COMPACTION_SOFT_SECONDS_MAX,
    time_limit=COMPACTION_HARD_SECONDS_MAX,
)
def run_compaction(job_id: int) -> str:
    """One queued run, on the broker's machine. Returns its state; empty when it was not ours to run."""
    job = runs.claim(job_id)
    if job is None:
        logger.info("run %d is not ours: taken, cancelled or gone", job_id)
        return ""
    return compaction.run(job).state


def request_compaction(requested_by: str, *, topic: str = "", broker_id: int | None = None) -> list[JobRun]:
    """A person asks for compaction now: rows at once, messages when the transaction has committed."""
    broker_ids = list(brokers.internal_addresses()) if broker_id is None else [broker_id]
    jobs = [
        runs.queue(JobRun.Kind.COMPACTION, one, topic=topic, trigger=JobRun.Trigger.PERSON, requested_by=requested_by)
        for one in broker_ids
    ]
    for job in jobs:
        transaction.on_commit(lambda job=job: _send_compaction(job))  # type: ignore[misc]
    return jobs


@shared_task(name="broker.rebalance_run", soft_time_limit=TURN_SOFT_SECONDS_MAX, time_limit=TURN_HARD_SECONDS_MAX)
def run_rebalance(job_id: int) -> str:
    """One turn of a run that evens the cluster out; see ``jobs/turns.py``."""
    return _take_turn(job_id, rebalance.run_rebalance)


@shared_task(name="broker.decommission_run", soft_time_limit=TURN_SOFT_SECONDS_MAX, time_limit=TURN_HARD_SECONDS_MAX)
def run_decommission(job_id: int) -> str:
    """One turn of a run that empties a broker."""
    return _take_turn(job_id, rebalance.run_decommission)


@shared_task(name="broker.rolling_restart_run", soft_time_limit=TURN_SOFT_SECONDS_MAX, time_limit=TURN_HARD_SECONDS_MAX)
def run_rolling_restart(job_id: int) -> str:
    """One turn of a run that restarts brokers one after the other."""
    return _take_turn(job_id, rolling_restart.run_rolling_restart)


def _take_turn(job_id: int, take: Callable[[JobRun], Outcome]) -> str:
    job = runs.claim(job_id)
    if job is None:
        logger.info("run %d is not ours: taken, cancelled or gone", job_id)
        return ""
    outcome = take(job)
    if outcome is Outcome.AGAIN:
        _send_turn(job.kind, job.pk)
    return outcome.value


def _send_turn(kind: str, job_id: int) -> None:
    current_app.send_task(f"{kind}_run", (job_id,))


def _send_compaction(job: JobRun) -> None:
    assert job.broker_id is not None, "a compaction run is about one broker"
    run_compaction.apply_async((job.pk,), queue=maintenance_queue(job.broker_id))


def _run(job_id: int) -> str:
    job = runs.claim(job_id)
    if job is None:
        logger.info("run %d is not ours: taken, cancelled or gone", job_id)
        return ""
    return retention.run(job).state
