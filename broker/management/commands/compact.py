"""``manage.py compact``: show what compaction would do, or do it now without a worker.

The command-line twin of the Celery task: the same plan, the same cleaning, the same broker deciding. Run it on the machine
of the broker, whose files it reads. Asked for like this, a log is compacted however clean it is, and tombstones whose
time is over go. Exit status: 0 when everything asked for was done (also when there was nothing to do), 1 when a broker
could not be reached, its files are elsewhere, or a segment does not read; 2 for a topic that does not exist or a wrong
option.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.client.blocking import Client
from broker.compaction.plan import PlannedCompaction
from broker.errors import ErrorCode, KafkaError
from broker.jobs import compaction
from broker.management.job_command import JobCommand
from broker.models import JobRun


class Command(JobCommand[PlannedCompaction]):
    help = "Compact topics whose cleanup.policy includes compact now, or show what compaction would do."
    dry_run_help = "print what the schedule finds due, and change nothing"
    kind = JobRun.Kind.COMPACTION
    title = "What compaction finds due now"
    nothing_planned = "Nothing is due."
    figures = ("Dirty offsets", "Dirty bytes", "Clean bytes", "Dirty")
    wrong_use = JobCommand.wrong_use | {ErrorCode.POLICY_VIOLATION}

    def check_topic(self, client: Client, topic: str) -> None:
        super().check_topic(client, topic)
        if not client.compaction_inventory([topic]).partitions:
            raise KafkaError(
                ErrorCode.POLICY_VIOLATION, f"topic {topic!r}: its cleanup.policy does not include compact"
            )

    def make_plan(self, client: Client, topic: str) -> Sequence[PlannedCompaction]:
        return compaction.make_plan(client, topic)

    def plan_cells(self, broker_id: int, planned: PlannedCompaction) -> tuple[str, ...]:
        return (
            planned.partition.topic,
            str(planned.partition.partition),
            str(broker_id),
            planned.reason,
            f"{planned.first_dirty_offset:,} – {planned.end_offset - 1:,}",
            f"{planned.dirty_bytes:,}",
            f"{planned.clean_bytes:,}",
            f"{planned.dirty_ratio:.0%}",
        )

    def plan_row(self, broker_id: int, planned: PlannedCompaction) -> dict[str, Any]:
        return {
            "broker": broker_id,
            "topic": planned.partition.topic,
            "partition": planned.partition.partition,
            "rule": planned.reason,
            "first_dirty_offset": planned.first_dirty_offset,
            "end_offset": planned.end_offset,
            "dirty_bytes": planned.dirty_bytes,
            "clean_bytes": planned.clean_bytes,
            "dirty_ratio": round(planned.dirty_ratio, 4),
        }

    def carry_out(self, job: JobRun) -> JobRun:
        return compaction.run(job)

    def totals(self, job: JobRun) -> dict[str, int]:
        return {"segments_replaced": job.segments_deleted, "bytes_saved": job.bytes_freed}

    def print_run(self, job: JobRun) -> None:
        for row in job.detail.get("compacted", {}).get("rows", []):
            self.stdout.write(
                f"  {row['topic']}-{row['partition']}: {row['bytes_before']:,} bytes in {row['segments']:,} segments became "
                f"{row['bytes_after']:,} in {row['segments_written']:,}; {row['records_kept']:,} of "
                f"{row['records_read']:,} records stay."
            )
        self.print_refusals(job)
        if job.state == JobRun.State.SUCCEEDED:
            done = f"saved {job.bytes_freed:,} bytes" if job.segments_deleted else "nothing to compact"
            self.stdout.write(f"Broker {job.broker_id}: {job.detail.get('idle_reason') or done + '.'}")
