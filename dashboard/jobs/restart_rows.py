"""The brokers of a rolling restart as its run's page lists them. Pure: from the run's row."""

from __future__ import annotations

from dataclasses import dataclass

from broker.models import JobRun
from broker.rebalancing.rolling import Phase, Step

WORDS = {
    Phase.WAITING: ("idle", "schedule", "waiting"),
    Phase.DRAINING: ("run", "sync", "handing over"),
    Phase.RESTARTING: ("run", "sync", "restarting"),
    Phase.RETURNING: ("run", "sync", "coming back into sync"),
    Phase.VERIFYING: ("run", "sync", "being checked"),
    Phase.LEADING: ("run", "sync", "taking its leaders back"),
    Phase.DONE: ("good", "check_circle", "restarted"),
}
STOPPED_HERE = ("bad", "error", "stopped here")
CANCELLED_HERE = ("idle", "undo", "taken back")
LEFT_ALONE = ("idle", "remove", "not restarted")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRow:
    broker: int
    level: str
    icon: str
    word: str
    says: str
    began_ms: int
    """-1: it has not begun."""
    seconds: float | None
    """How long it took; None while it lasts, or when it did not come to its end."""
    current: bool
    """It is the one that is being restarted."""


def restart_rows(job: JobRun) -> list[RestartRow]:
    """Empty before the order is known, and for runs of other kinds."""
    if job.kind != JobRun.Kind.ROLLING_RESTART:
        return []
    steps = [Step.from_row(row) for row in job.detail.get("steps", [])]
    present = next((index for index, step in enumerate(steps) if step.phase is not Phase.DONE), len(steps))
    return [_row(job, step, index == present) for index, step in enumerate(steps)]


def _row(job: JobRun, step: Step, present: bool) -> RestartRow:
    level, icon, word = WORDS[step.phase]
    done = step.phase is Phase.DONE
    if job.is_finished and not done:
        level, icon, word = LEFT_ALONE
        if present and job.state == JobRun.State.FAILED:
            level, icon, word = STOPPED_HERE
        elif present and step.phase is not Phase.WAITING:
            level, icon, word = CANCELLED_HERE
    under_way = present and not job.is_finished
    return RestartRow(
        broker=step.broker,
        level=level,
        icon=icon,
        word=word,
        says=step.says if under_way else "",
        began_ms=step.began_ms or -1,
        seconds=(step.ended_ms - step.began_ms) / 1_000 if done else None,
        current=under_way,
    )
