"""``manage.py console_producer``: every line of standard input becomes a record."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from django.core.management.base import CommandParser

from broker.commandline.groups import partition_count
from broker.commandline.outcome import WrongUse
from broker.commandline.output import Output
from broker.commandline.producing import LineProducer, Produced, Target
from broker.commandline.record_text import LineFormat, RecordLine, parse_json, parse_line
from broker.management.kafka_command import KafkaCommand
from broker.protocol.batch import COMPRESSION_NAMES

ACKS = {"all": -1, "-1": -1, "1": 1, "0": 0}


class Command(KafkaCommand):
    help = "Produce lines of standard input to a topic. Ends with the input."
    stealth_options = ("stdin",)
    examples = """
echo hello | manage.py console_producer greetings
manage.py console_producer orders --key-separator : --compression zstd < orders.txt
printf 'trace:7a,source:web\\tk1=hello\\n' | manage.py console_producer orders --parse-headers --key-separator =
manage.py console_consumer orders --json | manage.py console_producer copy --json-input
"""

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic", metavar="TOPIC", help="one that exists; see manage.py topics create")
        parser.add_argument("--partition", type=int, metavar="N", help="all records (default: by key, as Java does)")
        parser.add_argument("--acks", choices=sorted(ACKS), default="all", help="when a record counts (default all)")
        parser.add_argument("--compression", choices=COMPRESSION_NAMES, default="none")
        text = parser.add_argument_group("how a line holds a record")
        text.add_argument("--key-separator", metavar="TEXT", help="what stands between key and value; else no keys")
        text.add_argument("--key-optional", action="store_true", help="a line without the separator has no key")
        text.add_argument(
            "--parse-headers", action="store_true", help="lines begin with NAME:VALUE,NAME:VALUE and a tab"
        )
        text.add_argument("--null-marker", metavar="TEXT", help="a key or value that reads so is null (a tombstone)")
        text.add_argument("--header", action="append", default=[], metavar="NAME=VALUE", help="of every record")
        text.add_argument(
            "--json-input",
            action="store_true",
            help="lines are objects as console_consumer --json writes them: key, value, headers, partition, timestamp_ms",
        )

    def run(self, output: Output, options: dict[str, Any]) -> None:
        form = LineFormat(
            key_separator=options["key_separator"],
            key_required=not options["key_optional"],
            with_headers=options["parse_headers"],
            null_marker=options["null_marker"],
        )
        if options["json_input"] and form != LineFormat():
            raise WrongUse("--json-input says everything about a record; leave out the other formats")
        if form.key_separator == "":
            raise WrongUse("--key-separator is empty")
        target = Target(
            topic=options["topic"],
            partition=options["partition"],
            acks=ACKS[options["acks"]],
            compression=options["compression"],
            headers=_headers(options["header"]),
        )
        source: BinaryIO = options.get("stdin") or sys.stdin.buffer
        parse = parse_json if options["json_input"] else lambda line: parse_line(line, form)
        with self.client(options) as client:
            producer = LineProducer(client, target, partition_count(client, target.topic))
            produced = self._produce(output, producer, source, parse)
        if output.as_json:
            output.json(produced.row(target.topic))
        else:
            output.note(f"{produced.records:,} records, {produced.bytes:,} bytes")

    @staticmethod
    def _produce(
        output: Output, producer: LineProducer, source: BinaryIO, parse: Callable[[bytes], RecordLine]
    ) -> Produced:
        """With a bar for a file; a bar would hide the cursor of whoever types."""
        read: Callable[[int], bytes] = source.read1  # type: ignore[attr-defined]
        size = _file_size(source)
        if size is None:
            return producer.run(read, parse)
        with output.progress("bytes") as progress:
            task = progress.add_task("sending", total=size)
            return producer.run(read, parse, lambda count: progress.advance(task, count))


def _headers(texts: list[str]) -> tuple[tuple[str, bytes], ...]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise WrongUse("--header is NAME=VALUE")
    return tuple((name, value.encode()) for name, _, value in pairs)


def _file_size(source: BinaryIO) -> int | None:
    """Of a regular file; nobody knows how long a pipe or a person goes on."""
    try:
        status = os.fstat(source.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
