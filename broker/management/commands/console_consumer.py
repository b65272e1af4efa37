"""``manage.py console_consumer``: the records of a topic on standard output."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.management.base import CommandParser

from broker.client.asynchronous import AsyncClient
from broker.commandline.consuming import Consumed, Limits, consume_partitions, start_positions
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.output import Output
from broker.commandline.record_text import ReadRecord, RecordFormat, format_line, to_json
from broker.commandline.signals import stop_on_signals
from broker.commandline.times import parse_time
from broker.management.kafka_command import CLIENT_ID, KafkaCommand, bootstrap, parsed


def _where(text: str) -> str | int:
    if text in ("earliest", "latest"):
        return text
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not earliest, latest or a number") from None


class Command(KafkaCommand):
    help = (
        "Print the records of a topic: new ones, or from where you say, until Ctrl-C or one of the limits. "
        "Without --group nothing is committed and nobody else is disturbed."
    )
    examples = """
manage.py console_consumer orders                                        # what arrives from now on
manage.py console_consumer orders --from-beginning --exit-at-end
manage.py console_consumer orders --partition 0 --offset -10 --max-messages 10    # the last ten
manage.py console_consumer orders --from-datetime 2026-03-01T12:00:00 --print-key --print-timestamp
manage.py console_consumer orders --group audit --from-beginning         # as a member; offsets are committed
manage.py console_consumer orders --from-beginning --exit-at-end --json > orders.jsonl

With --max-messages the exit status is 1 if fewer arrived, with --exit-at-end if it was stopped before the end.
"""

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic", metavar="TOPIC")
        where = parser.add_argument_group("where to begin (default: with what arrives from now on)")
        start = where.add_mutually_exclusive_group()
        start.add_argument(
            "--from-beginning", action="store_true", help="with the oldest record; of a group, if it has no offsets yet"
        )
        start.add_argument(
            "--offset",
            type=parsed(_where),
            default=None,
            metavar="OFFSET",
            help="earliest, latest, a number, or -N for N records before the end",
        )
        start.add_argument(
            "--from-datetime", type=parsed(parse_time), metavar="TIME", help="with the first record not older"
        )
        where.add_argument(
            "--partition", type=int, action="append", metavar="N", help="only this one; may be repeated (default: all)"
        )
        where.add_argument("--group", metavar="GROUP", help="as a member of this group, going on where it is")
        until = parser.add_argument_group("when to end (default: with Ctrl-C)")
        until.add_argument("--max-messages", type=int, metavar="N", help="after so many records")
        until.add_argument("--timeout-ms", type=int, metavar="MS", help="when no record came for so long")
        until.add_argument("--exit-at-end", action="store_true", help="where the log ended when reading began")
        what = parser.add_argument_group("what to print")
        for name in ("timestamp", "partition", "offset", "headers", "key"):
            what.add_argument(f"--print-{name}", action="store_true", help=f"the {name} in front of the value")
        what.add_argument("--no-value", action="store_true", help="not the value")
        what.add_argument("--separator", default="\t", metavar="TEXT", help="between what is printed (default: a tab)")
        what.add_argument("--null-marker", default="null", metavar="TEXT", help="for a null key or value")
        parser.add_argument(
            "--isolation-level", choices=("read_uncommitted", "read_committed"), default="read_uncommitted"
        )
        parser.add_argument(
            "--skip-damaged", action="store_true", help="tell of batches that cannot be opened and go on"
        )

    def run(self, output: Output, options: dict[str, Any]) -> None:
        _check(options)
        consumed = asyncio.run(self._consume(output, options))
        output.flush()
        output.note(f"{consumed.records:,} records, {consumed.bytes:,} bytes")
        wanted = options["max_messages"]
        if wanted is not None and consumed.records < wanted:
            raise CommandFailed(f"{consumed.records} of {wanted} records arrived")
        if wanted is None and options["exit_at_end"] and not consumed.reached_end:
            raise CommandFailed("stopped before the end")

    async def _consume(self, output: Output, options: dict[str, Any]) -> Consumed:
        limits = Limits(
            records_max=options["max_messages"], idle_ms=options["timeout_ms"], at_end=options["exit_at_end"]
        )
        show = _printer(output, options)

        def polled(seconds: float, records: int) -> None:
            if records:
                output.flush()

        topic: str = options["topic"]
        read_committed = options["isolation_level"] == "read_committed"
        with stop_on_signals() as stopping:
            async with AsyncClient(bootstrap(options), client_id=CLIENT_ID) as client:
                if options["group"] is None:
                    start = "earliest" if options["from_beginning"] else options["offset"]
                    positions = await start_positions(
                        client,
                        topic,
                        options["partition"],
                        "latest" if start is None else start,
                        options["from_datetime"],
                    )
                    return await consume_partitions(
                        client,
                        topic,
                        positions,
                        limits,
                        show,
                        stopping,
                        read_committed=read_committed,
                        note_damage=output.note if options["skip_damaged"] else None,
                        polled=polled,
                    )
                await client.router.topic(topic)  # A member would wait for a topic that does not exist.
            from broker.commandline.group_reader import consume_group

            return await consume_group(
                bootstrap(options),
                topic,
                options["group"],
                limits,
                show,
                stopping,
                from_beginning=options["from_beginning"],
                client_id=CLIENT_ID,
                read_committed=read_committed,
                polled=polled,
            )


def _check(options: dict[str, Any]) -> None:
    if options["group"] is not None:
        given = [
            name
            for name in ("partition", "offset", "from_datetime", "exit_at_end", "skip_damaged")
            if options[name] not in (None, False)
        ]
        if given:
            raise WrongUse(f"--{given[0].replace('_', '-')} is not for a group, whose members are told what to read")
    if options["max_messages"] is not None and options["max_messages"] < 1:
        raise WrongUse("--max-messages is a number from 1 on")
    if options["timeout_ms"] is not None and options["timeout_ms"] < 0:
        raise WrongUse("--timeout-ms is a number from 0 on")


def _printer(output: Output, options: dict[str, Any]) -> Any:
    form = RecordFormat(
        timestamp=options["print_timestamp"],
        partition=options["print_partition"],
        offset=options["print_offset"],
        headers=options["print_headers"],
        key=options["print_key"],
        value=not options["no_value"],
        separator=options["separator"],
        null_marker=options["null_marker"],
    )

    def show_json(record: ReadRecord) -> None:
        output.json(to_json(record))

    def show_text(record: ReadRecord) -> None:
        output.raw(format_line(record, form))

    return show_json if output.as_json else show_text
