"""What the commands that do a background job now have in common: options, brokers, plans, runs, exit statuses.

A command says what its job plans and how a plan and a finished run read; the work is in ``broker.jobs``. Whatever a
broker refuses ends as one line on standard error: status 1 when it failed, 2 for a wrong topic, broker or option.
"""

from __future__ import annotations

import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.table import Table

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import ErrorCode, KafkaError
from broker.jobs import brokers, runs
from broker.models import JobRun

Planned = TypeVar("Planned")

FAILED = 1
WRONG_USE = 2
WIDTH_PIPED = 160


class JobCommand(BaseCommand, ABC, Generic[Planned]):
    kind: JobRun.Kind
    dry_run_help: str
    title: str
    nothing_planned: str
    figures: tuple[str, ...]
    """Right-aligned columns of the plan, after topic, partition, broker and rule."""
    wrong_use = frozenset({ErrorCode.UNKNOWN_TOPIC_OR_PARTITION})
    """What a broker answers when it was the caller's mistake."""

    @abstractmethod
    def make_plan(self, client: Client, topic: str) -> Sequence[Planned]:
        """What the job would do now on the broker behind ``client``."""

    @abstractmethod
    def plan_row(self, broker_id: int, planned: Planned) -> dict[str, Any]:
        """For programs."""

    @abstractmethod
    def plan_cells(self, broker_id: int, planned: Planned) -> tuple[str, ...]:
        """For people: topic, partition, broker, rule, and the figures."""

    @abstractmethod
    def carry_out(self, job: JobRun) -> JobRun:
        """Do a claimed run to its end."""

    @abstractmethod
    def totals(self, job: JobRun) -> dict[str, int]:
        """What a finished run amounts to, under the names this job has for it."""

    @abstractmethod
    def print_run(self, job: JobRun) -> None:
        """What a finished run did, for people."""

    def check_topic(self, client: Client, topic: str) -> None:
        """Raises ``KafkaError`` when the job cannot be about this topic."""
        found = client.metadata([topic]).topics
        error = found[0].error if found else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if error:
            raise KafkaError(error, f"topic {topic!r}: {error.message}")

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--topic", default="", help="only this topic (default: all)")
        parser.add_argument("--broker", type=int, default=None, help="only this broker (default: all)")
        parser.add_argument("--dry-run", action="store_true", help=self.dry_run_help)
        parser.add_argument("--json", action="store_true", help="machine-readable output")

    def handle(self, *args: Any, **options: Any) -> None:
        broker_ids = _broker_ids(options["broker"])
        try:
            if options["topic"]:
                with brokers.open_client(broker_ids[0]) as client:
                    self.check_topic(client, options["topic"])
            if options["dry_run"]:
                self._show_plans(broker_ids, options["topic"], options["json"])
                return
        except KafkaError as error:
            code = WRONG_USE if error.code in self.wrong_use else FAILED
            raise CommandError(error.message, returncode=code) from error
        except ClientConnectionError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        self._apply(broker_ids, options["topic"], options["json"])

    # Plan ------------------------------------------------------------------------------------------

    def _show_plans(self, broker_ids: Sequence[int], topic: str, as_json: bool) -> None:
        plans: dict[int, Sequence[Planned]] = {}
        for broker_id in broker_ids:
            with brokers.open_client(broker_id) as client:
                plans[broker_id] = self.make_plan(client, topic)
        if as_json:
            rows = [self.plan_row(broker_id, planned) for broker_id, found in plans.items() for planned in found]
            self.stdout.write(json.dumps(rows))
            return
        if not any(plans.values()):
            self.stdout.write(self.nothing_planned)
            return
        table = Table(title=self.title)
        for name in ("Topic", "Partition", "Broker", "Rule"):
            table.add_column(name)
        for name in self.figures:
            table.add_column(name, justify="right")
        for broker_id, found in plans.items():
            for planned in found:
                table.add_row(*self.plan_cells(broker_id, planned))
        self._print(table)

    # Apply -----------------------------------------------------------------------------------------

    def _apply(self, broker_ids: Sequence[int], topic: str, as_json: bool) -> None:
        finished = [self._run(broker_id, topic) for broker_id in broker_ids]
        if as_json:
            self.stdout.write(json.dumps([self._run_row(job) for job in finished]))
        else:
            for job in finished:
                self.print_run(job)
        failures = [job for job in finished if job.state != JobRun.State.SUCCEEDED]
        if failures:
            raise CommandError("; ".join(f"broker {job.broker_id}: {job.error}" for job in failures), returncode=FAILED)

    def _run(self, broker_id: int, topic: str) -> JobRun:
        job = runs.queue(self.kind, broker_id, topic=topic, trigger=JobRun.Trigger.COMMAND)
        claimed = runs.claim(job.pk)
        if claimed is None:
            job.refresh_from_db()
            return job
        return self.carry_out(claimed)

    def _run_row(self, job: JobRun) -> dict[str, Any]:
        return {
            "run": job.pk,
            "broker": job.broker_id,
            "state": job.state,
            **self.totals(job),
            "error": job.error,
            "detail": job.detail,
        }

    def print_refusals(self, job: JobRun) -> None:
        for refusal in job.detail.get("refused", {}).get("rows", []):
            self.stdout.write(f"  {refusal['topic']}-{refusal['partition']}: {refusal['why']}")

    def _print(self, table: Table) -> None:
        """Through Django's stream, so that a test and a pipe get the same text; colours only on a terminal."""
        text = io.StringIO()
        on_terminal = self.stdout.isatty()
        Console(file=text, force_terminal=on_terminal, width=None if on_terminal else WIDTH_PIPED).print(table)
        self.stdout.write(text.getvalue())


def _broker_ids(chosen: int | None) -> list[int]:
    known = list(brokers.internal_addresses())
    if chosen is None:
        return known
    if chosen not in known:
        raise CommandError(f"there is no broker {chosen}; known: {', '.join(map(str, known))}", returncode=WRONG_USE)
    return [chosen]
