"""One retention run on one broker: read the inventory, plan, ask for the deletions in steps.

The broker judges every step against its live state, so this may run twice, late or with a plan that has gone stale:
the worst outcome is that nothing is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from broker.jobs import brokers, runs
from broker.models import JobRun
from broker.protocol.private import RetentionOutcome
from broker.retention.plan import PlannedDeletion, plan

logger = logging.getLogger(__name__)

ACTIONS_PER_STEP = 50
"""Between two steps progress is written and a request to cancel is seen."""


@dataclass(slots=True)
class Progress:
    """What a run has done so far; true also when it ends early."""

    planned: list[PlannedDeletion] = field(default_factory=list)
    outcomes: list[RetentionOutcome] = field(default_factory=list)

    @property
    def segments_deleted(self) -> int:
        return sum(outcome.deleted_segments for outcome in self.outcomes)

    @property
    def bytes_freed(self) -> int:
        return sum(outcome.deleted_bytes for outcome in self.outcomes)

    def detail(self) -> dict[str, Any]:
        deleted = [
            {
                "topic": outcome.topic,
                "partition": outcome.partition,
                "reason": planned.reason,
                "segments": outcome.deleted_segments,
                "bytes": outcome.deleted_bytes,
                "log_start_offset": outcome.log_start_offset,
            }
            for planned, outcome in zip(self.planned, self.outcomes, strict=False)
            if outcome.deleted_segments
        ]
        refused = [
            {"topic": outcome.topic, "partition": outcome.partition, "why": outcome.error_message}
            for outcome in self.outcomes
            if outcome.error_message
        ]
        return {"planned": len(self.planned), "deleted": runs.bounded(deleted), "refused": runs.bounded(refused)}


def run(job: JobRun) -> JobRun:
    """Do a claimed run to its end and return the finished row. Expected failures end up in the row."""
    progress = Progress()
    state, error = JobRun.State.SUCCEEDED, ""
    try:
        with brokers.open_client(_broker_id(job)) as client:
            complete = apply(
                client,
                job.topic,
                progress,
                report=lambda done, total: runs.report_progress(job, done, total),
                cancelled=lambda: runs.is_cancel_requested(job),
            )
        if not complete:
            state = JobRun.State.CANCELLED
    except (ClientConnectionError, KafkaError) as failure:
        state, error = JobRun.State.FAILED, str(failure)
        logger.warning("%s: %s", job, failure)
    except BaseException as failure:
        # The time limit or a bug: say so in the row, then let Celery see it too.
        _finish(job, JobRun.State.FAILED, progress, _explain(failure))
        raise
    _finish(job, state, progress, error)
    job.refresh_from_db()
    return job


def apply(
    client: Client,
    topic: str,
    progress: Progress,
    *,
    report: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> bool:
    """Plan and carry out; False when it was cancelled in between."""
    progress.planned = make_plan(client, topic)
    total = len(progress.planned)
    report(0, total)
    for start in range(0, total, ACTIONS_PER_STEP):
        if cancelled():
            return False
        step = progress.planned[start : start + ACTIONS_PER_STEP]
        progress.outcomes += client.apply_retention([deletion.action() for deletion in step])
        report(start + len(step), total)
    return True


def make_plan(client: Client, topic: str = "") -> list[PlannedDeletion]:
    """What retention would delete now on the broker behind ``client``, by that broker's own clock."""
    inventory = client.segment_inventory([topic] if topic else [])
    return plan(inventory.partitions, inventory.sampled_at_ms)


def _finish(job: JobRun, state: JobRun.State, progress: Progress, error: str) -> None:
    runs.finish(
        job,
        state,
        segments_deleted=progress.segments_deleted,
        bytes_freed=progress.bytes_freed,
        error=error,
        detail=progress.detail(),
    )


def _explain(failure: BaseException) -> str:
    if isinstance(failure, SoftTimeLimitExceeded):
        return "It took too long and was stopped. What was deleted stays deleted; the next run continues."
    return f"{type(failure).__name__}: {failure}"


def _broker_id(job: JobRun) -> int:
    assert job.broker_id is not None, "a retention run is about one broker"
    return job.broker_id
