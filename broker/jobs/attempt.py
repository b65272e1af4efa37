"""A claimed run, done to its end: whatever happens meanwhile ends up in its row.

What a job does is its own; this owns how that becomes succeeded, cancelled or failed. What was done before a failure
is told in the row too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from celery.exceptions import SoftTimeLimitExceeded

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from broker.jobs import brokers, runs
from broker.models import JobRun

logger = logging.getLogger(__name__)


class Progress(Protocol):
    """What a run has done so far; true also when it ends early."""

    @property
    def segments_deleted(self) -> int: ...
    @property
    def bytes_freed(self) -> int: ...
    @property
    def error(self) -> str:
        """What an operator must look at although the run reached its end."""

    def detail(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How the work tells how far it is, and learns that it shall stop."""

    report: Callable[[int, int], None]
    cancelled: Callable[[], bool]


def carry_out(
    job: JobRun,
    progress: Progress,
    work: Callable[[Client, Watch], bool],
    *,
    expected: tuple[type[Exception], ...] = (),
    out_of_time: str,
) -> JobRun:
    """``work`` answers False when it was cancelled in between; ``expected`` failures of its own end up in the row."""
    watch = Watch(
        report=lambda done, total: runs.report_progress(job, done, total),
        cancelled=lambda: runs.is_cancel_requested(job),
    )
    state, error = JobRun.State.SUCCEEDED, ""
    failures: tuple[type[Exception], ...] = (ClientConnectionError, KafkaError, *expected)
    try:
        assert job.broker_id is not None, "a run is about one broker"
        with brokers.open_client(job.broker_id) as client:
            complete = work(client, watch)
        error = progress.error
        if error:
            state = JobRun.State.FAILED
        elif not complete:
            state = JobRun.State.CANCELLED
    except failures as failure:
        state, error = JobRun.State.FAILED, str(failure)
        logger.warning("%s: %s", job, failure)
    except BaseException as failure:
        # The time limit or a bug: say so in the row, then let Celery see it too.
        late = isinstance(failure, SoftTimeLimitExceeded)
        _finish(job, JobRun.State.FAILED, progress, out_of_time if late else f"{type(failure).__name__}: {failure}")
        raise
    _finish(job, state, progress, error)
    job.refresh_from_db()
    return job


def _finish(job: JobRun, state: JobRun.State, progress: Progress, error: str) -> None:
    runs.finish(
        job,
        state,
        segments_deleted=progress.segments_deleted,
        bytes_freed=progress.bytes_freed,
        error=error,
        detail=progress.detail(),
    )
