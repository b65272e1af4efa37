"""``manage.py verify_log``: whether a log directory is what a broker wrote, read without a broker."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from broker.commandline.outcome import CommandFailed
from broker.commandline.output import Output, column
from broker.commandline.verify import survey, verify
from broker.commandline.verify_partition import Rules
from broker.management.kafka_command import KafkaCommand

COLUMNS = (
    column("Severity", "severity"),
    column("File", "path"),
    column("Byte", "position", right=True),
    column("Offset", "offset", right=True),
    column("What", "what"),
)


class Command(KafkaCommand):
    help = (
        "Check a log directory, or single partitions of it, byte by byte: CRCs, contiguous offsets, indexes against "
        "the log, monotone leader epochs, producer snapshots, checkpoints. Needs no broker and changes nothing."
    )
    needs_broker = False
    examples = """
manage.py verify_log var/broker-1                       # of a stopped broker
manage.py verify_log var/broker-1 --allow-torn-tail     # of a running one, or after a crash
manage.py verify_log var/broker-1/orders-0 --deep       # also open every batch
"""

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="DIRECTORY", help="a log directory, or a partition's")
        parser.add_argument(
            "--allow-torn-tail",
            action="store_true",
            help="a write cut off at the very end of a partition is no damage, as long as it lies behind the recovery "
            "point: a crash leaves it, and so does looking while the broker writes",
        )
        parser.add_argument(
            "--allow-gaps",
            action="store_true",
            help="missing offsets are no damage: for compacted topics (Kafka's own are known to be)",
        )
        parser.add_argument("--deep", action="store_true", help="also open every batch and count its records")
        parser.add_argument(
            "--strict", action="store_true", help="exit with 1 for warnings too, such as an index that is missing"
        )

    def run(self, output: Output, options: dict[str, Any]) -> None:
        surveyed = survey(options["paths"])
        rules = Rules(
            gaps_allowed=options["allow_gaps"],
            torn_tail_allowed=options["allow_torn_tail"],
            deep=options["deep"],
        )
        total = sum(target.log_bytes for target in surveyed.targets)
        try:
            with output.progress("bytes") as progress:
                task = progress.add_task("verifying", total=total)
                report = verify(surveyed, rules, lambda count: progress.advance(task, count))
        except OSError as error:
            raise CommandFailed(f"{error.filename or ''}: {error.strerror or error}") from error
        self._show(output, report)
        damage, warnings = len(report["damage"]), len(report["warnings"])
        if damage or (options["strict"] and warnings):
            raise CommandFailed(f"{damage} place(s) damaged, {warnings} warning(s)")

    @staticmethod
    def _show(output: Output, report: dict[str, Any]) -> None:
        if output.as_json:
            output.json(report)
            return
        findings = [*report["damage"], *report["torn_tails"], *report["warnings"]]
        if findings:
            output.table(findings, COLUMNS)
        output.line(
            f"{report['partitions']:,} partitions, {report['segments']:,} segments, {report['batches']:,} batches, "
            f"{report['records']:,} records, {report['bytes']:,} bytes: "
            + ("damaged" if report["damage"] else "healthy")
        )
