"""``manage.py topics``: list, describe, create, alter and delete topics of any Kafka cluster."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from broker.client.blocking import Client
from broker.commandline import topics
from broker.commandline.arguments import parse_assignments
from broker.commandline.outcome import WrongUse
from broker.commandline.output import Output
from broker.management.kafka_command import KafkaCommand, fail_if

BROKERS_DEFAULT = -1


class Command(KafkaCommand):
    help = "List, describe, create, alter and delete topics."
    examples = """
manage.py topics list
manage.py topics create orders --partitions 6 --config retention.ms=86400000
manage.py topics describe orders --offsets
manage.py topics alter orders --partitions 12
manage.py topics delete orders
"""

    def arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)
        action = add("list", "Every topic with its partitions.")
        action.add_argument("--exclude-internal", action="store_true", help="leave out topics Kafka keeps for itself")

        action = add(
            "describe",
            "Partitions with leader, replicas and in-sync set, and the configs the topic sets itself.",
            "manage.py topics describe                  # all topics\n"
            "manage.py topics describe orders --offsets\n"
            "manage.py topics describe --unhealthy      # what has no leader or is not fully in sync",
        )
        action.add_argument("topics", nargs="*", metavar="TOPIC", help="default: all")
        action.add_argument("--offsets", action="store_true", help="also where each partition's log starts and ends")
        action.add_argument(
            "--unhealthy",
            action="store_true",
            help="only partitions without a leader, with an error or with replicas out of sync",
        )

        action = add(
            "create",
            "Create topics.",
            "manage.py topics create orders payments --partitions 6\n"
            "manage.py topics create audit --config cleanup.policy=compact,retention.ms=-1\n"
            "manage.py topics create orders --if-not-exists",
        )
        action.add_argument("topics", nargs="+", metavar="TOPIC")
        action.add_argument(
            "--partitions", type=int, default=BROKERS_DEFAULT, metavar="N", help="default: the broker's num.partitions"
        )
        action.add_argument(
            "--replication-factor",
            type=int,
            default=BROKERS_DEFAULT,
            metavar="N",
            help="default: the broker's default.replication.factor",
        )
        action.add_argument(
            "--config",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a topic config; repeat it, or separate several by commas (brackets keep commas in a value)",
        )
        action.add_argument("--if-not-exists", action="store_true", help="a topic that exists already is no failure")
        action.add_argument("--validate-only", action="store_true", help="only ask whether it would be possible")

        action = add("alter", "Give topics more partitions. Keys move to other partitions from then on.")
        action.add_argument("topics", nargs="+", metavar="TOPIC")
        action.add_argument("--partitions", type=int, required=True, metavar="N", help="the new total, never fewer")
        action.add_argument("--validate-only", action="store_true", help="only ask whether it would be possible")

        action = add("delete", "Delete topics with all their records. There is no way back.")
        action.add_argument("topics", nargs="+", metavar="TOPIC")
        action.add_argument("--if-exists", action="store_true", help="a topic that does not exist is no failure")

    def run(self, output: Output, options: dict[str, Any]) -> None:
        act = getattr(self, f"_{options['action']}")
        with self.client(options) as client:
            act(client, output, options)

    def _list(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        rows = topics.list_topics(client, exclude_internal=options["exclude_internal"])
        if output.as_json:
            output.json(rows)
        else:
            output.table(rows, topics.LIST_COLUMNS, empty="There are no topics.")

    def _describe(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        rows = topics.describe_topics(
            client, options["topics"], with_offsets=options["offsets"], only_unhealthy=options["unhealthy"]
        )
        if output.as_json:
            output.json(rows)
            return
        columns = (*topics.PARTITION_COLUMNS, *(topics.OFFSET_COLUMNS if options["offsets"] else ()))
        for row in rows:
            configs = ", ".join(f"{name}={value}" for name, value in row["configs"].items())
            title = f"{row['topic']}  id {row['topic_id'] or '-'}" + (f"  {configs}" if configs else "")
            output.table(row["partitions"], columns, title=title)
        if not rows:
            output.line("Every partition is healthy." if options["unhealthy"] else "There are no topics.")

    def _create(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        try:
            configs = parse_assignments(options["config"])
        except ValueError as error:
            raise WrongUse(f"--config: {error}") from error
        rows = topics.create_topics(
            client,
            options["topics"],
            partitions=options["partitions"],
            replication_factor=options["replication_factor"],
            configs=configs,
            if_not_exists=options["if_not_exists"],
            validate_only=options["validate_only"],
        )
        self._show_outcomes(output, rows)

    def _alter(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        rows = topics.grow_topics(
            client, options["topics"], options["partitions"], validate_only=options["validate_only"]
        )
        self._show_outcomes(output, rows)

    def _delete(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        self._show_outcomes(output, topics.delete_topics(client, options["topics"], if_exists=options["if_exists"]))

    @staticmethod
    def _show_outcomes(output: Output, rows: list[dict[str, Any]]) -> None:
        if output.as_json:
            output.json(rows)
        else:
            output.table(rows, topics.OUTCOME_COLUMNS)
        fail_if(rows, "topic(s)")
