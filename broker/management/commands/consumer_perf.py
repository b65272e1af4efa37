"""``manage.py consumer_perf``: how fast records are read."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import CommandParser

from broker.client.asynchronous import AsyncClient
from broker.commandline.consuming import Consumed, Limits, consume_partitions, start_positions
from broker.commandline.load import LATENCY_COLUMNS, ReadingMeter
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.output import Output
from broker.commandline.signals import stop_on_signals
from broker.management.kafka_command import CLIENT_ID, KafkaCommand, bootstrap


class Command(KafkaCommand):
    help = (
        "Read records and measure throughput and the latency of polls; with --end-to-end also how old each record was "
        "when it arrived, which is the latency from producer to consumer if both clocks agree."
    )
    examples = """
manage.py consumer_perf bench --messages 1000000
manage.py consumer_perf bench --messages 1000000 --group readers
manage.py consumer_perf bench --messages 10000 --from-latest --end-to-end     # beside producer_perf --throughput
"""

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic", metavar="TOPIC")
        parser.add_argument("--messages", type=int, required=True, metavar="N", help="how many to read")
        parser.add_argument("--group", metavar="GROUP", help="as a member of this group (default: in none)")
        parser.add_argument("--from-latest", action="store_true", help="with what arrives from now on")
        parser.add_argument("--fetch-bytes", type=int, default=4 << 20, metavar="N", help="of a poll (default 4 MiB)")
        parser.add_argument(
            "--timeout-ms", type=int, default=10_000, metavar="MS", help="give up without a record (default 10000)"
        )
        parser.add_argument("--end-to-end", action="store_true", help="also measure the age of records on arrival")

    def run(self, output: Output, options: dict[str, Any]) -> None:
        if options["messages"] < 1 or options["fetch_bytes"] < 1:
            raise WrongUse("--messages and --fetch-bytes are numbers from 1 on")
        meter = asyncio.run(self._consume(output, options))
        row = {"topic": options["topic"], "group": options["group"], **meter.row()}
        if output.as_json:
            output.json(row)
        else:
            output.line(
                f"{row['records']:,} records, {row['bytes']:,} bytes in {row['seconds']:,.2f} s: "
                f"{row['records_per_second']:,.0f} records/s, {row['mb_per_second']:,.2f} MB/s"
            )
            for title, name in (("polls", "poll_ms"), ("age of records on arrival", "record_age_ms")):
                if row[name]:
                    output.table([row[name]], LATENCY_COLUMNS, title=title)
        if meter.records < options["messages"]:
            raise CommandFailed(f"{meter.records:,} of {options['messages']:,} records arrived")

    async def _consume(self, output: Output, options: dict[str, Any]) -> ReadingMeter:
        limits = Limits(records_max=options["messages"], idle_ms=options["timeout_ms"])
        with stop_on_signals() as stopping, output.progress() as progress:
            task = progress.add_task("consuming", total=options["messages"])
            async with AsyncClient(bootstrap(options), client_id=CLIENT_ID) as client:
                positions = await start_positions(
                    client, options["topic"], None, "latest" if options["from_latest"] else "earliest", None
                )
                meter = ReadingMeter(end_to_end=options["end_to_end"])

                def polled(seconds: float, records: int) -> None:
                    meter.polled(seconds, records)
                    progress.advance(task, records)

                if options["group"] is None:
                    await consume_partitions(
                        client,
                        options["topic"],
                        positions,
                        limits,
                        meter.handle,
                        stopping,
                        polled=polled,
                        fetch_bytes=options["fetch_bytes"],
                    )
                    return meter
            await self._as_member(options, limits, meter, polled, stopping)
            return meter

    @staticmethod
    async def _as_member(
        options: dict[str, Any], limits: Limits, meter: ReadingMeter, polled: Any, stopping: asyncio.Event
    ) -> Consumed:
        from broker.commandline.group_reader import consume_group

        return await consume_group(
            bootstrap(options),
            options["topic"],
            options["group"],
            limits,
            meter.handle,
            stopping,
            from_beginning=not options["from_latest"],
            client_id=CLIENT_ID,
            polled=polled,
        )
