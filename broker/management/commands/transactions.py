"""``manage.py transactions``: the transactions of any Kafka cluster, and the ends of those that do not end by themselves."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandParser

from broker.client.blocking import Client
from broker.commandline import transactions
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.output import Output
from broker.commandline.times import parse_duration
from broker.management.kafka_command import KafkaCommand, parsed
from broker.types import TopicPartition


class Command(KafkaCommand):
    help = "List and describe transactions and producers; find and end transactions that hang."
    examples = """
manage.py transactions list --state Ongoing
manage.py transactions describe payments-1
manage.py transactions find-hanging
manage.py transactions abort orders --partition 0 --start-offset 1200
"""

    def arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)
        action = add(
            "list",
            "Every transactional id with its state.",
            "manage.py transactions list --running-longer-than PT1M\n"
            "manage.py transactions list --id-pattern 'payments-.*' --state Ongoing",
        )
        action.add_argument(
            "--state", action="append", default=[], help="only ids in this state (Ongoing, Empty, …); may be repeated"
        )
        action.add_argument(
            "--producer-id", action="append", default=[], type=int, help="only of this producer; may be repeated"
        )
        action.add_argument(
            "--running-longer-than",
            type=parsed(parse_duration),
            default=-1,
            metavar="DURATION",
            help="only transactions that began longer ago: PT30S, PT5M",
        )
        action.add_argument("--id-pattern", metavar="REGEX", help="only ids that match as a whole")

        action = add("describe", "One transactional id: producer, age, and what its transaction holds.")
        action.add_argument("transactional_id", metavar="ID")

        action = add(
            "describe-producers",
            "Producers known to the partitions of a topic, and where their transactions begin.",
            "manage.py transactions describe-producers orders --partition 0",
        )
        action.add_argument("topic", metavar="TOPIC")
        action.add_argument("--partition", action="append", default=[], type=int, help="may be repeated")

        action = add(
            "find-hanging",
            "Transactions that nobody will end; they hold back whoever reads committed records.",
            "manage.py transactions find-hanging --topic orders --max-transaction-timeout PT1H",
        )
        action.add_argument("--topic", action="append", default=[], help="default: all topics; may be repeated")
        action.add_argument(
            "--max-transaction-timeout",
            type=parsed(parse_duration),
            default=parse_duration("PT15M"),
            metavar="DURATION",
            help="younger ones may still be ended by their producers; the broker's transaction.max.timeout.ms "
            "(default PT15M)",
        )

        action = add(
            "abort",
            "Abort a hanging transaction in one partition by writing its marker. Records of a transaction that is not "
            "hanging are lost by this: look with find-hanging first.",
            "manage.py transactions abort orders --partition 0 --start-offset 1200\n"
            "manage.py transactions abort orders --partition 0 --producer-id 7 --producer-epoch 0 --coordinator-epoch 3",
        )
        action.add_argument("topic", metavar="TOPIC")
        action.add_argument("--partition", type=int, required=True)
        action.add_argument("--start-offset", type=int, metavar="N", help="where it begins, as find-hanging shows")
        action.add_argument("--producer-id", type=int, metavar="N", help="instead of --start-offset, with both epochs")
        action.add_argument("--producer-epoch", type=int, metavar="N")
        action.add_argument("--coordinator-epoch", type=int, metavar="N")

        action = add(
            "force-terminate",
            "Fence the producer of a transactional id and abort what it has open, in every partition.",
            "manage.py transactions force-terminate payments-1",
        )
        action.add_argument("transactional_id", metavar="ID")

    # Acting ----------------------------------------------------------------------------------------

    def run(self, output: Output, options: dict[str, Any]) -> None:
        act = getattr(self, "_" + options["action"].replace("-", "_"))
        with self.client(options) as client:
            act(client, output, options)

    def _list(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        rows = transactions.list_transactions(
            client,
            states=options["state"],
            producer_ids=options["producer_id"],
            running_longer_ms=options["running_longer_than"],
            pattern=options["id_pattern"],
        )
        if output.as_json:
            output.json(rows)
        else:
            output.table(rows, transactions.LIST_COLUMNS, empty="No transactional id.")

    def _describe(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        row = transactions.describe(client, options["transactional_id"], _now_ms())
        if output.as_json:
            output.json(row)
        else:
            output.table([row], transactions.DESCRIBE_COLUMNS)

    def _describe_producers(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        rows = transactions.describe_producers(client, options["topic"], options["partition"])
        if output.as_json:
            output.json(rows)
        else:
            output.table(rows, transactions.PRODUCER_COLUMNS, empty="No producer has state there.")

    def _find_hanging(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        topics = options["topic"] or [topic.name for topic in client.metadata().topics]
        rows = transactions.find_hanging(
            client, topics, older_than_ms=options["max_transaction_timeout"], now_ms=_now_ms()
        )
        if output.as_json:
            output.json(rows)
        else:
            output.table(rows, transactions.HANGING_COLUMNS, empty="No transaction hangs.")

    def _abort(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        partition = TopicPartition(options["topic"], options["partition"])
        numbers = {name: options[name] for name in ("producer_id", "producer_epoch", "coordinator_epoch")}
        given = [name for name, number in numbers.items() if number is not None]
        if options["start_offset"] is not None and not given:
            row = transactions.abort(client, partition, options["start_offset"])
        elif options["start_offset"] is None and len(given) == len(numbers):
            row = transactions.abort_producer(client, partition, **numbers)
        else:
            raise WrongUse("give --start-offset, or --producer-id, --producer-epoch and --coordinator-epoch")
        if output.as_json:
            output.json(row)
        else:
            output.line(f"aborted: producer {row['producer_id']}, epoch {row['producer_epoch']}, in {partition}")

    def _force_terminate(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        if not options["transactional_id"]:
            raise CommandFailed("a transactional id is never empty")
        row = transactions.force_terminate(client, options["transactional_id"])
        if output.as_json:
            output.json(row)
        else:
            output.line(f"terminated: {row['transactional_id']}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
