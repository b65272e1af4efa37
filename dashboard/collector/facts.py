"""Alerts that telemetry does not carry: about background work, from the database and Redis through ``broker.jobs.health``,
and about clients and transactions, from the brokers (``cluster_facts``)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from asgiref.sync import sync_to_async
from django.db import DatabaseError, close_old_connections

from broker.jobs.health import JobsHealth, WorkFact, health
from dashboard.collector.cluster_facts import ClusterFacts
from dashboard.live.state import AlertRow

logger = logging.getLogger("ottla.collector")
_started = time.monotonic()
_cluster_facts = ClusterFacts()


async def gather_facts() -> Sequence[AlertRow]:
    """Never raises for a database in trouble: that is a fact too."""
    return [*await sync_to_async(_gather, thread_sensitive=True)(), *await sync_to_async(_cluster_facts.gather)()]


def _gather() -> Sequence[AlertRow]:
    close_old_connections()
    try:
        return jobs_alerts(health(time.monotonic() - _started))
    except DatabaseError as error:
        logger.warning("cannot ask about jobs: %s", error)
        return [
            AlertRow(
                name="jobs-unknown",
                level="warn",
                title="Background work cannot be seen",
                text=f"The database does not answer: {error}",
                link="services",
            )
        ]


def jobs_alerts(facts: JobsHealth) -> list[AlertRow]:
    """Pure. The texts name durations coarsely, so that a lasting alert does not change with every look."""
    alerts = []
    if facts.worker_missing:
        seen = facts.worker_seen_seconds_ago
        alerts.append(
            AlertRow(
                name="worker-missing",
                level="warn",
                title="No worker seen",
                text=(
                    f"The last sign of life came {_coarse(seen)} ago."
                    if seen is not None
                    else "None has ever reported."
                )
                + " Nothing deletes old records until one is back.",
                link="services",
            )
        )
    alerts += [_overdue("retention", fact) for fact in facts.retention_overdue]
    alerts += [_overdue("compaction", fact) for fact in facts.compaction_overdue]
    return alerts


def _overdue(work: str, fact: WorkFact) -> AlertRow:
    done = (
        f"It last succeeded {_coarse(fact.succeeded_seconds_ago)} ago."
        if fact.succeeded_seconds_ago is not None
        else "It has never succeeded."
    )
    return AlertRow(
        name=f"{work}-overdue:{fact.broker_id}",
        level="warn",
        title=f"{work.capitalize()} on broker {fact.broker_id} is overdue",
        text=f"{done} {fact.error}".strip(),
        link="jobs",
    )


def _coarse(seconds: float) -> str:
    if seconds < 60:
        return "less than a minute"
    if seconds < 3600:
        minutes = int(seconds // 60)
        return "a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(seconds // 3600)
    return "an hour" if hours == 1 else f"{hours} hours"
