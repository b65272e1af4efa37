"""``manage.py dump_log``: what is inside segments, indexes, snapshots and checkpoints, read without a broker."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import CommandParser

from broker.commandline.dump import Content, dump_file, plain_content, text_of
from broker.commandline.internal_records import decode_offsets_record, decode_transactions_record
from broker.commandline.log_files import FileKind, kind_of
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.output import Output
from broker.management.kafka_command import KafkaCommand


class Command(KafkaCommand):
    help = (
        "Print the content of Kafka's files: .log, .index, .timeindex, .txnindex, .snapshot, leader-epoch-checkpoint "
        "and the checkpoints of a log directory. Needs no broker and changes nothing."
    )
    needs_broker = False
    examples = """
manage.py dump_log var/broker-1/orders-0/00000000000000000000.log
manage.py dump_log --deep-iteration var/broker-1/orders-0/00000000000000000000.log
manage.py dump_log var/broker-1/orders-0/                       # every file of the partition
manage.py dump_log --offsets-decoder var/broker-1/__consumer_offsets-7/
manage.py dump_log --transaction-log-decoder var/broker-1/__transaction_state-7/
manage.py dump_log --json var/broker-1/orders-0/*.snapshot      # one JSON object per row
"""

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="FILE", help="files, or directories for all files in them")
        parser.add_argument(
            "--deep-iteration",
            "--print-data-log",
            action="store_true",
            dest="deep",
            help="also open each batch and print its records with keys and values",
        )

        parser.add_argument(
            "--offsets-decoder",
            action="store_true",
            help="the log is __consumer_offsets: say in words what its records mean; implies --deep-iteration",
        )
        parser.add_argument(
            "--transaction-log-decoder",
            action="store_true",
            help="the log is __transaction_state: the same for its records",
        )

    def run(self, output: Output, options: dict[str, Any]) -> None:
        damaged = 0
        content_of = _decoder(options)
        deep = options["deep"] or content_of is not plain_content
        for path, kind, base_offset in _files(options["paths"]):
            if not output.as_json:
                output.line(f"Dumping {path}")
                if kind is FileKind.LOG:
                    output.line(f"Log starting offset: {base_offset}")
            try:
                for row in dump_file(path, kind, base_offset, deep=deep, content_of=content_of):
                    damaged += row["kind"] == "damage"
                    if output.as_json:
                        output.json({"file": path, **row})
                    else:
                        output.line(text_of(row))
            except OSError as error:
                if isinstance(error, BrokenPipeError):
                    raise
                raise CommandFailed(f"{path}: {error.strerror or error}") from error
        if damaged:
            raise CommandFailed(f"{damaged} place(s) could not be read; see the rows of damage")


def _decoder(options: dict[str, Any]) -> Content:
    if options["offsets_decoder"] and options["transaction_log_decoder"]:
        raise WrongUse("a log is either __consumer_offsets or __transaction_state")
    if options["offsets_decoder"]:
        return decode_offsets_record
    return decode_transactions_record if options["transaction_log_decoder"] else plain_content


def _files(paths: list[str]) -> list[tuple[str, FileKind, int]]:
    """Files to dump in order; raises ``WrongUse`` for one that is not Kafka's."""
    found: list[tuple[str, FileKind, int]] = []
    for path in paths:
        if os.path.isdir(path):
            inside = [os.path.join(path, name) for name in sorted(os.listdir(path))]
            found += [(one, *kind) for one in inside if os.path.isfile(one) and (kind := kind_of(one)) is not None]
            continue
        kind = kind_of(path)
        if kind is None or not os.path.isfile(path):
            raise WrongUse(f"{path}: " + ("not a file of a Kafka log" if os.path.exists(path) else "no such file"))
        found.append((path, *kind))
    if not found:
        raise WrongUse("there are no files of a Kafka log there")
    return found
