"""``manage.py producer_perf``: how fast records are acknowledged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from broker.client.asynchronous import AsyncClient
from broker.commandline.load import LATENCY_COLUMNS, Load, Measured, produce_load, random_payloads
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.output import Output
from broker.commandline.signals import stop_on_signals
from broker.limits import MIB
from broker.management.commands.console_producer import ACKS
from broker.management.kafka_command import CLIENT_ID, KafkaCommand, bootstrap
from broker.protocol.batch import COMPRESSION_NAMES

PAYLOAD_FILE_BYTES_MAX = 256 * MIB


class Command(KafkaCommand):
    help = (
        "Produce a load and measure throughput and latency. With --throughput the latency of a record counts from the "
        "moment it was due, so that a stall is not hidden by sending less."
    )
    examples = """
manage.py producer_perf bench --records 1000000 --record-size 100
manage.py producer_perf bench --records 60000 --throughput 1000 --linger-ms 0
manage.py producer_perf bench --records 100000 --payload-file lines.txt --compression zstd --acks 1
"""

    def arguments(self, parser: CommandParser) -> None:
        parser.add_argument("topic", metavar="TOPIC", help="one that exists")
        parser.add_argument("--records", type=int, required=True, metavar="N", help="how many")
        value = parser.add_mutually_exclusive_group()
        value.add_argument("--record-size", type=int, default=100, metavar="BYTES", help="random values (default 100)")
        value.add_argument("--payload-file", type=Path, metavar="FILE", help="its lines as values, in turn")
        parser.add_argument("--throughput", type=float, metavar="N", help="records per second (default: all it takes)")
        parser.add_argument("--batch-bytes", type=int, default=65_536, metavar="N", help="of a batch (default 65536)")
        parser.add_argument(
            "--linger-ms", type=int, default=5, metavar="MS", help="with --throughput: wait for a batch (default 5)"
        )
        parser.add_argument("--in-flight", type=int, default=5, metavar="N", help="batches at once (default 5)")
        parser.add_argument("--acks", choices=sorted(ACKS), default="all")
        parser.add_argument("--compression", choices=COMPRESSION_NAMES, default="none")

    def run(self, output: Output, options: dict[str, Any]) -> None:
        load = _load(options)
        measured = asyncio.run(self._produce(output, options, load))
        row = {"topic": load.topic, **measured.row()}
        if output.as_json:
            output.json(row)
        else:
            output.line(
                f"{row['records']:,} records, {row['bytes']:,} bytes in {row['seconds']:,.2f} s: "
                f"{row['records_per_second']:,.0f} records/s, {row['mb_per_second']:,.2f} MB/s"
            )
            if row["latency_ms"]:
                output.table([row["latency_ms"]], LATENCY_COLUMNS, title="from due to acknowledged")
        if measured.records < load.records:
            raise CommandFailed(f"{measured.records:,} of {load.records:,} records were acknowledged")

    @staticmethod
    async def _produce(output: Output, options: dict[str, Any], load: Load) -> Measured:
        with stop_on_signals() as stopping, output.progress() as progress:
            task = progress.add_task("producing", total=load.records)
            async with AsyncClient(bootstrap(options), client_id=CLIENT_ID) as client:
                return await produce_load(client, load, stopping, lambda count: progress.advance(task, count))


def _load(options: dict[str, Any]) -> Load:
    for name in ("records", "batch_bytes", "in_flight", "throughput"):
        if options[name] is not None and options[name] <= 0:
            raise WrongUse(f"--{name.replace('_', '-')} is a number above 0")
    for name in ("record_size", "linger_ms"):
        if options[name] < 0:
            raise WrongUse(f"--{name.replace('_', '-')} is a number from 0 on")
    return Load(
        topic=options["topic"],
        records=options["records"],
        payloads=_payloads(options["payload_file"]) or random_payloads(options["record_size"]),
        records_per_second=options["throughput"],
        batch_bytes=options["batch_bytes"],
        linger_ms=options["linger_ms"],
        in_flight=options["in_flight"],
        acks=ACKS[options["acks"]],
        compression=options["compression"],
    )


def _payloads(path: Path | None) -> list[bytes]:
    if path is None:
        return []
    try:
        if path.stat().st_size > PAYLOAD_FILE_BYTES_MAX:
            raise WrongUse(f"--payload-file {path}: more than {PAYLOAD_FILE_BYTES_MAX:,} bytes")
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise WrongUse(f"--payload-file {path}: {error.strerror or error}") from error
    if not lines:
        raise WrongUse(f"--payload-file {path}: it is empty")
    return lines
