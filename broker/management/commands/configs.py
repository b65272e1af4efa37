"""``manage.py configs``: read and change configs of topics, brokers, groups and subscriptions of any Kafka cluster."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from broker.commandline import configs
from broker.commandline.arguments import parse_assignments, parse_names
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.output import Output, column
from broker.management.kafka_command import KafkaCommand, fail_if


class Command(KafkaCommand):
    help = "Describe and alter configs of topics, brokers, groups and client-metrics subscriptions."
    examples = """
manage.py configs describe --topic orders              # what the topic sets itself
manage.py configs describe --topic orders --all        # with everything it inherits
manage.py configs alter --topic orders --add-config retention.ms=3600000,max.message.bytes=2000000
manage.py configs alter --topic orders --delete-config retention.ms
manage.py configs alter --all-brokers --add-config log.retention.ms=604800000
manage.py configs alter --group billing --add-config consumer.session.timeout.ms=60000
"""

    def arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)
        action = add(
            "describe",
            "Configs with their values and where each comes from.",
            "manage.py configs describe --broker 1 --all --name log.retention.ms --help-texts",
        )
        self._add_resources(action)
        action.add_argument("--all", action="store_true", help="also what is inherited or the default")
        action.add_argument("--name", action="append", default=[], metavar="CONFIG", help="only these; implies --all")
        action.add_argument("--help-texts", action="store_true", help="also what each config means")

        action = add(
            "alter",
            "Set configs, or remove a resource's own value so that the inherited one acts again. "
            "All changes of a resource are made, or none.",
            "manage.py configs alter --topic audit --add-config cleanup.policy=[compact,delete]\n"
            "manage.py configs alter --topic audit --delete-config cleanup.policy --validate-only",
        )
        self._add_resources(action)
        action.add_argument("--add-config", action="append", default=[], metavar="NAME=VALUE,...")
        action.add_argument("--delete-config", action="append", default=[], metavar="NAME,...")
        action.add_argument("--validate-only", action="store_true", help="only ask whether it would be accepted")

    @staticmethod
    def _add_resources(action: CommandParser) -> None:
        action.add_argument("--topic", action="append", default=[], metavar="NAME", help="may be repeated")
        action.add_argument("--broker", action="append", default=[], type=int, metavar="ID", help="may be repeated")
        action.add_argument("--all-brokers", action="store_true", help="what is set for all brokers at once")
        action.add_argument(
            "--group", action="append", default=[], metavar="ID", help="of the new protocol (KIP-848); may be repeated"
        )
        action.add_argument(
            "--client-metrics", action="append", default=[], metavar="NAME", help="a subscription; may be repeated"
        )

    def run(self, output: Output, options: dict[str, Any]) -> None:
        names = {
            "topic": options["topic"],
            "broker": [str(broker_id) for broker_id in options["broker"]],
            "group": options["group"],
            "client-metrics": options["client_metrics"],
        }
        resources = configs.resources(names, options["all_brokers"])
        if options["action"] == "describe":
            self._describe(output, options, resources)
        else:
            self._alter(output, options, resources)

    def _describe(self, output: Output, options: dict[str, Any], resources: list[configs.Resource]) -> None:
        names = set(options["name"])
        with self.client(options) as client:
            rows = [
                configs.describe(
                    client,
                    resource,
                    with_defaults=options["all"] or bool(names),
                    with_help=options["help_texts"],
                )
                for resource in resources
            ]
        for resource, row in zip(resources, rows, strict=True):
            if names:
                row["configs"] = [entry for entry in row["configs"] if entry["name"] in names]
                unknown = names - {entry["name"] for entry in row["configs"]}
                if unknown:
                    raise CommandFailed(f"{resource} has no config {', '.join(sorted(unknown))}")
        if output.as_json:
            output.json(rows)
            return
        columns = (*configs.COLUMNS, *((column("Meaning", "documentation"),) if options["help_texts"] else ()))
        for resource, row in zip(resources, rows, strict=True):
            output.table(row["configs"], columns, title=str(resource), empty=f"{resource}: nothing is set.")

    def _alter(self, output: Output, options: dict[str, Any], resources: list[configs.Resource]) -> None:
        try:
            changes = configs.changes(parse_assignments(options["add_config"]), parse_names(options["delete_config"]))
        except ValueError as error:
            raise WrongUse(str(error)) from error
        with self.client(options) as client:
            rows = [
                configs.alter(client, resource, changes, validate_only=options["validate_only"])
                for resource in resources
            ]
        if output.as_json:
            output.json(rows)
        else:
            for resource, row in zip(resources, rows, strict=True):
                output.line(f"{resource}: {row['outcome']}" + (f", {row['error']}" if row["error"] else ""))
        fail_if(rows, "resource(s)")
