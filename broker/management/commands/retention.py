"""``manage.py retention``: show what retention would delete, or do it now without a worker.

The command-line twin of the Celery task: the same plan, the same broker deciding. Exit status: 0 when everything
asked for was done (also when there was nothing to do), 1 when a broker could not be reached or refused, 2 for a
topic that does not exist or a wrong option.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from broker.client.errors import ClientConnectionError
from broker.errors import ErrorCode, KafkaError
from broker.jobs import brokers, retention, runs
from broker.models import JobRun
from broker.retention.plan import PlannedDeletion

FAILED = 1
WRONG_USE = 2
WIDTH_PIPED = 160


class Command(BaseCommand):
    help = "Apply retention.ms and retention.bytes now, or show what they would delete."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--topic", default="", help="only this topic (default: all)")
        parser.add_argument("--broker", type=int, default=None, help="only this broker (default: all)")
        parser.add_argument("--dry-run", action="store_true", help="print the plan and delete nothing")
        parser.add_argument("--json", action="store_true", help="machine-readable output")

    def handle(self, *args: Any, **options: Any) -> None:
        broker_ids = self._broker_ids(options["broker"])
        try:
            if options["topic"]:
                _require_topic(broker_ids, options["topic"])
            if options["dry_run"]:
                self._show_plans(broker_ids, options["topic"], options["json"])
                return
        except KafkaError as error:
            code = WRONG_USE if error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION else FAILED
            raise CommandError(error.message, returncode=code) from error
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
        plans: dict[int, list[PlannedDeletion]] = {}
        for broker_id in broker_ids:
            with brokers.open_client(broker_id) as client:
                plans[broker_id] = retention.make_plan(client, topic)
        if as_json:
            self.stdout.write(json.dumps([_plan_row(b, deletion) for b, rows in plans.items() for deletion in rows]))
            return
        if not any(plans.values()):
            self.stdout.write("Nothing to delete.")
            return
        table = Table(title="What retention would delete now")
        for name in ("Topic", "Partition", "Broker", "Rule"):
            table.add_column(name)
        for name in ("Offsets", "Segments", "Bytes", "Newest record"):
            table.add_column(name, justify="right")
        for broker_id, rows in plans.items():
            for deletion in rows:
                table.add_row(
                    deletion.topic,
                    str(deletion.partition),
                    str(broker_id),
                    deletion.reason,
                    f"{deletion.oldest_offset:,} – {deletion.new_log_start_offset - 1:,}",
                    f"{deletion.segments:,}",
                    f"{deletion.bytes:,}",
                    _time(deletion.newest_timestamp_ms),
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
        job = runs.queue(JobRun.Kind.RETENTION, broker_id, topic=topic, trigger=JobRun.Trigger.COMMAND)
        claimed = runs.claim(job.pk)
        if claimed is None:
            job.refresh_from_db()
            return job
        return retention.run(claimed)

    def _print_run(self, job: JobRun) -> None:
        if job.state != JobRun.State.SUCCEEDED:
            return
        count = job.segments_deleted
        done = (
            f"deleted {count:,} segment{'' if count == 1 else 's'}, freed {job.bytes_freed:,} bytes"
            if count
            else "nothing to delete"
        )
        self.stdout.write(f"Broker {job.broker_id}: {done}.")
        for refusal in job.detail.get("refused", {}).get("rows", []):
            self.stdout.write(f"  {refusal['topic']}-{refusal['partition']}: {refusal['why']}")

    def _print(self, table: Table) -> None:
        """Through Django's stream, so that a test and a pipe get the same text; colours only on a terminal."""
        text = io.StringIO()
        on_terminal = self.stdout.isatty()
        Console(file=text, force_terminal=on_terminal, width=None if on_terminal else WIDTH_PIPED).print(table)
        self.stdout.write(text.getvalue())


def _require_topic(broker_ids: Sequence[int], topic: str) -> None:
    with brokers.open_client(broker_ids[0]) as client:
        found = client.metadata([topic]).topics
    error = found[0].error if found else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    if error:
        raise KafkaError(error, f"topic {topic!r}: {error.message}")


def _plan_row(broker_id: int, deletion: PlannedDeletion) -> dict[str, Any]:
    return {
        "broker": broker_id,
        "topic": deletion.topic,
        "partition": deletion.partition,
        "rule": deletion.reason,
        "first_offset": deletion.oldest_offset,
        "new_log_start_offset": deletion.new_log_start_offset,
        "segments": deletion.segments,
        "bytes": deletion.bytes,
        "newest_timestamp_ms": deletion.newest_timestamp_ms,
    }


def _run_row(job: JobRun) -> dict[str, Any]:
    return {
        "run": job.pk,
        "broker": job.broker_id,
        "state": job.state,
        "segments_deleted": job.segments_deleted,
        "bytes_freed": job.bytes_freed,
        "error": job.error,
        "detail": job.detail,
    }


def _time(timestamp_ms: int) -> str:
    if timestamp_ms < 0:
        return "unknown"
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
