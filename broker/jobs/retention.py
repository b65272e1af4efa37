"""One retention run on one broker: read the inventory, plan, ask for the deletions in steps.

The broker judges every step against its live state, so this may run twice, late or with a plan that has gone stale:
the worst outcome is that nothing is deleted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from broker.client.blocking import Client
from broker.jobs import runs
from broker.jobs.attempt import Watch, carry_out
from broker.models import JobRun
from broker.protocol.private import RetentionOutcome
from broker.retention.plan import PlannedDeletion, plan

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

    @property
    def error(self) -> str:
        """Refusals are no error: the broker knew better."""
        return ""

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
    return carry_out(
        job,
        progress,
        lambda client, watch: apply(client, job.topic, progress, watch),
        out_of_time="It took too long and was stopped. What was deleted stays deleted; the next run continues.",
    )


def apply(client: Client, topic: str, progress: Progress, watch: Watch) -> bool:
    """Plan and carry out; False when it was cancelled in between."""
    progress.planned = make_plan(client, topic)
    total = len(progress.planned)
    watch.report(0, total)
    for start in range(0, total, ACTIONS_PER_STEP):
        if watch.cancelled():
            return False
        step = progress.planned[start : start + ACTIONS_PER_STEP]
        progress.outcomes += client.apply_retention([deletion.action() for deletion in step])
        watch.report(start + len(step), total)
    return True


def make_plan(client: Client, topic: str = "") -> list[PlannedDeletion]:
    """What retention would delete now on the broker behind ``client``, by that broker's own clock."""
    inventory = client.segment_inventory([topic] if topic else [])
    return plan(inventory.partitions, inventory.sampled_at_ms)
