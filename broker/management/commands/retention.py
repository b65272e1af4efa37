"""``manage.py retention``: show what retention would delete, or do it now without a worker.

The command-line twin of the Celery task: the same plan, the same broker deciding. Exit status: 0 when everything
asked for was done (also when there was nothing to do), 1 when a broker could not be reached or refused, 2 for a
topic that does not exist or a wrong option.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from broker.client.blocking import Client
from broker.jobs import retention
from broker.management.job_command import JobCommand
from broker.models import JobRun
from broker.retention.plan import PlannedDeletion


class Command(JobCommand[PlannedDeletion]):
    help = "Apply retention.ms and retention.bytes now, or show what they would delete."
    dry_run_help = "print the plan and delete nothing"
    kind = JobRun.Kind.RETENTION
    title = "What retention would delete now"
    nothing_planned = "Nothing to delete."
    figures = ("Offsets", "Segments", "Bytes", "Newest record")

    def make_plan(self, client: Client, topic: str) -> Sequence[PlannedDeletion]:
        return retention.make_plan(client, topic)

    def plan_cells(self, broker_id: int, planned: PlannedDeletion) -> tuple[str, ...]:
        return (
            planned.topic,
            str(planned.partition),
            str(broker_id),
            planned.reason,
            f"{planned.oldest_offset:,} – {planned.new_log_start_offset - 1:,}",
            f"{planned.segments:,}",
            f"{planned.bytes:,}",
            _time(planned.newest_timestamp_ms),
        )

    def plan_row(self, broker_id: int, planned: PlannedDeletion) -> dict[str, Any]:
        return {
            "broker": broker_id,
            "topic": planned.topic,
            "partition": planned.partition,
            "rule": planned.reason,
            "first_offset": planned.oldest_offset,
            "new_log_start_offset": planned.new_log_start_offset,
            "segments": planned.segments,
            "bytes": planned.bytes,
            "newest_timestamp_ms": planned.newest_timestamp_ms,
        }

    def carry_out(self, job: JobRun) -> JobRun:
        return retention.run(job)

    def totals(self, job: JobRun) -> dict[str, int]:
        return {"segments_deleted": job.segments_deleted, "bytes_freed": job.bytes_freed}

    def print_run(self, job: JobRun) -> None:
        if job.state != JobRun.State.SUCCEEDED:
            return
        count = job.segments_deleted
        done = (
            f"deleted {count:,} segment{'' if count == 1 else 's'}, freed {job.bytes_freed:,} bytes"
            if count
            else "nothing to delete"
        )
        self.stdout.write(f"Broker {job.broker_id}: {done}.")
        self.print_refusals(job)


def _time(timestamp_ms: int) -> str:
    if timestamp_ms < 0:
        return "unknown"
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
