"""``manage.py compact``: show what compaction would do, or do it now without a worker.

The command-line twin of the Celery task: the same plan, the same cleaning, the same broker deciding. Run it on the machine
of the broker, whose files it reads. Asked for like this, a log is compacted however clean it is, and tombstones whose
time is over go. Exit status: 0 when everything asked for was done (also when there was nothing to do), 1 when a broker
could not be reached, its files are elsewhere, or a segment does not read; 2 for a topic that does not exist or a wrong
option.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from broker.client.errors import ClientConnectionError
from broker.compaction.plan import PlannedCompaction
from broker.errors import ErrorCode, KafkaError
from broker.jobs import brokers, compaction, runs
from broker.models import JobRun

FAILED = 1
WRONG_USE = 2
WIDTH_PIPED = 160


class Command(BaseCommand):
    help = "Compact topics whose cleanup.policy includes compact now, or show what compaction would do."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--topic", default="", help="only this topic (default: all)")
        parser.add_argument("--broker", type=int, default=None, help="only this broker (default: all)")
        parser.add_argument(
            "--dry-run", action="store_true", help="print what the schedule finds due, and change nothing"
        )
        parser.add_argument("--json", action="store_true", help="machine-readable output")

    def handle(self, *args: Any, **options: Any) -> None:
        broker_ids = self._broker_ids(options["broker"])
        try:
            if options["topic"]:
                _require_compacted_topic(broker_ids, options["topic"])
            if options["dry_run"]:
                self._show_plans(broker_ids, options["topic"], options["json"])
                return
        except KafkaError as error:
            wrong_use = error.code in (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.POLICY_VIOLATION)
            raise CommandError(error.message, returncode=WRONG_USE if wrong_use else FAILED) from error
        except ClientConnectionError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        self._apply(broker_ids, options["topic"], options["json"])

    @staticmethod
    def _broker_ids(chosen: int | None) -> list[int]:
        known = list(brokers.internal_addresses())
        if chosen is None:
            return known
        if chosen not in known:
            raise CommandError(
                f"there is no broker {chosen}; known: {', '.join(map(str, known))}", returncode=WRONG_USE
            )
        return [chosen]

    # Plan ------------------------------------------------------------------------------------------

    def _show_plans(self, broker_ids: Sequence[int], topic: str, as_json: bool) -> None:
        plans: dict[int, list[PlannedCompaction]] = {}
        for broker_id in broker_ids:
            with brokers.open_client(broker_id) as client:
                plans[broker_id] = compaction.make_plan(client, topic)
        if as_json:
            self.stdout.write(json.dumps([_plan_row(b, planned) for b, rows in plans.items() for planned in rows]))
            return
        if not any(plans.values()):
            self.stdout.write("Nothing is due.")
            return
        table = Table(title="What compaction finds due now")
        for name in ("Topic", "Partition", "Broker", "Rule"):
            table.add_column(name)
        for name in ("Dirty offsets", "Dirty bytes", "Clean bytes", "Dirty"):
            table.add_column(name, justify="right")
        for broker_id, rows in plans.items():
            for planned in rows:
                table.add_row(
                    planned.partition.topic,
                    str(planned.partition.partition),
                    str(broker_id),
                    planned.reason,
                    f"{planned.first_dirty_offset:,} – {planned.end_offset - 1:,}",
                    f"{planned.dirty_bytes:,}",
                    f"{planned.clean_bytes:,}",
                    f"{planned.dirty_ratio:.0%}",
                )
        self._print(table)

    # Apply -----------------------------------------------------------------------------------------

    def _apply(self, broker_ids: Sequence[int], topic: str, as_json: bool) -> None:
        finished = [self._run(broker_id, topic) for broker_id in broker_ids]
        if as_json:
            self.stdout.write(json.dumps([_run_row(job) for job in finished]))
        else:
            for job in finished:
                self._print_run(job)
        failures = [job for job in finished if job.state != JobRun.State.SUCCEEDED]
        if failures:
            raise CommandError("; ".join(f"broker {job.broker_id}: {job.error}" for job in failures), returncode=FAILED)

    def _run(self, broker_id: int, topic: str) -> JobRun:
        job = runs.queue(JobRun.Kind.COMPACTION, broker_id, topic=topic, trigger=JobRun.Trigger.COMMAND)
        claimed = runs.claim(job.pk)
        if claimed is None:
            job.refresh_from_db()
            return job
        return compaction.run(claimed)

    def _print_run(self, job: JobRun) -> None:
        for row in job.detail.get("compacted", {}).get("rows", []):
            self.stdout.write(
                f"  {row['topic']}-{row['partition']}: {row['bytes_before']:,} bytes in {row['segments']:,} segments became "
                f"{row['bytes_after']:,} in {row['segments_written']:,}; {row['records_kept']:,} of "
                f"{row['records_read']:,} records stay."
            )
        for refusal in job.detail.get("refused", {}).get("rows", []):
            self.stdout.write(f"  {refusal['topic']}-{refusal['partition']}: {refusal['why']}")
        if job.state == JobRun.State.SUCCEEDED:
            done = f"saved {job.bytes_freed:,} bytes" if job.segments_deleted else "nothing to compact"
            self.stdout.write(f"Broker {job.broker_id}: {job.detail.get('idle_reason') or done + '.'}")

    def _print(self, table: Table) -> None:
        """Through Django's stream, so that a test and a pipe get the same text; colours only on a terminal."""
        text = io.StringIO()
        on_terminal = self.stdout.isatty()
        Console(file=text, force_terminal=on_terminal, width=None if on_terminal else WIDTH_PIPED).print(table)
        self.stdout.write(text.getvalue())


def _require_compacted_topic(broker_ids: Sequence[int], topic: str) -> None:
    with brokers.open_client(broker_ids[0]) as client:
        found = client.metadata([topic]).topics
        error = found[0].error if found else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if error:
            raise KafkaError(error, f"topic {topic!r}: {error.message}")
        if not client.compaction_inventory([topic]).partitions:
            raise KafkaError(
                ErrorCode.POLICY_VIOLATION, f"topic {topic!r}: its cleanup.policy does not include compact"
            )


def _plan_row(broker_id: int, planned: PlannedCompaction) -> dict[str, Any]:
    partition = planned.partition
    return {
        "broker": broker_id,
        "topic": partition.topic,
        "partition": partition.partition,
        "rule": planned.reason,
        "first_dirty_offset": planned.first_dirty_offset,
        "end_offset": planned.end_offset,
        "dirty_bytes": planned.dirty_bytes,
        "clean_bytes": planned.clean_bytes,
        "dirty_ratio": round(planned.dirty_ratio, 4),
    }


def _run_row(job: JobRun) -> dict[str, Any]:
    return {
        "run": job.pk,
        "broker": job.broker_id,
        "state": job.state,
        "segments_replaced": job.segments_deleted,
        "bytes_saved": job.bytes_freed,
        "error": job.error,
        "detail": job.detail,
    }
