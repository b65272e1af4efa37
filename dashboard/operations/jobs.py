"""The door to background work on the cluster: which kinds there are, whether a worker knows them, and starting one.

A kind is carried out by the Celery task ``<kind>_run``, which is given the id of its ``JobRun`` and finds what it is to do in
``detail``. Progress, cancelling and the end of it are on the run's own page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import current_app
from django.db import transaction

import dashboard.project.celery  # noqa: F401  (where tasks are sent)
from broker.models import JobRun

ROLLING_RESTART = "broker.rolling_restart"
DECOMMISSION = "broker.decommission"
REBALANCE = "broker.rebalance"
ACTIVE = (JobRun.State.QUEUED, JobRun.State.RUNNING)


def refusal(kind: str) -> str:
    """Why none can be started now; empty when one can."""
    if not is_known(kind):
        return "The workers of this version do not know this kind of work."
    under_way = active(kind)
    if under_way is not None:
        return f"Run {under_way.pk} does the same and is {under_way.get_state_display().lower()}."
    return ""


def is_known(kind: str) -> bool:
    """Whether this version has a task for it."""
    return f"{kind}_run" in current_app.tasks


def active(kind: str) -> JobRun | None:
    return JobRun.objects.filter(kind=kind, state__in=ACTIVE).first()


def start(kind: str, *, broker_id: int | None, requested_by: str, detail: Mapping[str, Any]) -> JobRun:
    """A row at once, the message when the transaction has committed."""
    job = JobRun.objects.create(
        kind=kind,
        broker_id=broker_id,
        trigger=JobRun.Trigger.PERSON,
        requested_by=requested_by,
        detail=dict(detail),
    )
    transaction.on_commit(lambda: send(kind, job.pk))
    return job


def send(kind: str, job_id: int) -> None:
    current_app.send_task(f"{kind}_run", (job_id,))
