"""Work on the whole cluster, in turns: it may take hours, so it lets go of its worker now and then and is taken up again.

All that has to be known is in the run's row and in the cluster. A worker may die at any moment: the run is queued again
(``runs.requeue_lost``), and whoever takes it up reads what has been done from the cluster.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from broker.jobs import brokers, runs
from broker.models import JobRun

logger = logging.getLogger(__name__)

TURN_SECONDS_MAX = 600.0
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""How long brokers may not answer, or refuse, before the run fails: a controller may have to be elected."""


class Outcome(Enum):
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    AGAIN = "again"
    """This turn is over and the work is not."""


class CannotContinueError(Exception):
    """The work ends here; the text says why, for a person."""


@dataclass(slots=True, kw_only=True)
class Turn:
    """How the work tells how far it is, and learns what is wanted of it."""

    job: JobRun
    detail: dict[str, Any]
    ends_at: float = field(default_factory=lambda: time.monotonic() + TURN_SECONDS_MAX)

    @property
    def cancelled(self) -> bool:
        return runs.is_cancel_requested(self.job)

    @property
    def paused(self) -> bool:
        return runs.is_pause_requested(self.job)

    @property
    def over(self) -> bool:
        return time.monotonic() > self.ends_at

    def save(self, **changes: Any) -> None:
        """Kept before it is acted on: what is not in the row is not known to who comes next."""
        if any(self.detail.get(name) != value for name, value in changes.items()):
            self.detail.update(changes)
            runs.save_detail(self.job, self.detail)

    def report(self, done: int, total: int) -> None:
        runs.report_progress(self.job, done, total)

    def be_alone(self) -> None:
        """Only one run changes the whole cluster at a time. Raises ``CannotContinueError``."""
        other = runs.other_cluster_work(self.job)
        if other is not None:
            raise CannotContinueError(f"Run {other.pk} changes the cluster at the moment: wait for it, or cancel it.")

    def insist(self, act: Callable[[], None]) -> None:
        """Something that may be done twice, until the cluster has taken it."""

        def step() -> Outcome:
            act()
            return Outcome.DONE

        if self.until(step) is not Outcome.DONE:
            raise CannotContinueError("The cluster did not take it in time.")

    def until(self, step: Callable[[], Outcome | None]) -> Outcome:
        """Ask again and again until there is an outcome. What the cluster does not answer for a while is forgiven."""
        failing_since: float | None = None
        while True:
            try:
                outcome = step()
                failing_since = None
            except (ClientConnectionError, KafkaError) as error:
                now = time.monotonic()
                failing_since = now if failing_since is None else failing_since
                if now - failing_since > PATIENCE_SECONDS:
                    raise
                logger.info("%s: %s; trying again", self.job, error)
                runs.report_seen(self.job)
                outcome = None
            if outcome is not None:
                return outcome
            if self.over:
                return Outcome.AGAIN
            time.sleep(POLL_SECONDS)


def take_turn(job: JobRun, work: Callable[[Client, Turn], Outcome]) -> Outcome:
    """A claimed run, for one turn: its row is finished, or queued again, whatever happens."""
    runs.report_seen(job)
    turn = Turn(job=job, detail=dict(job.detail))
    outcome, error = Outcome.DONE, ""
    try:
        with brokers.open_cluster_client() as client:
            outcome = work(client, turn)
    except (ClientConnectionError, KafkaError, CannotContinueError) as failure:
        outcome, error = Outcome.FAILED, str(failure)
        logger.warning("%s: %s", job, failure)
    except SoftTimeLimitExceeded:
        outcome = Outcome.AGAIN
    except BaseException as failure:
        _finish(turn, JobRun.State.FAILED, f"{type(failure).__name__}: {failure}")
        raise
    if error:
        _finish(turn, JobRun.State.FAILED, error)
    elif outcome is Outcome.AGAIN:
        runs.queue_again(job)
    else:
        _finish(turn, JobRun.State.SUCCEEDED if outcome is Outcome.DONE else JobRun.State.CANCELLED, "")
    return outcome


def _finish(turn: Turn, state: JobRun.State, error: str) -> None:
    detail = {name: value for name, value in turn.detail.items() if name != "idle_reason"}
    runs.finish(turn.job, state, error=error, detail=detail)
