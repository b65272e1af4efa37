"""`python -m bench.apache`: Ottla beside Apache Kafka, row by row, with the ratio. What `make bench-kafka` runs."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.apache import cluster_rows, rows
from bench.apache.class_path import NoApacheKafka, class_path
from bench.apache.cluster_server import ApacheCluster
from bench.apache.series import Compared, apart, together
from bench.apache.server import ApacheKafka
from bench.broker import BrokerUnderTest
from bench.cluster import OttlaCluster
from bench.report import RESULTS, machine

PARTS = ("throughput", "latency", "flush", "fixed", "cluster", "cluster-flush", "cluster-fixed")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.apache", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="run these parts alone")
    parser.add_argument("--rows", default="", help="only rows whose name contains this")
    parser.add_argument("--rounds", type=int, default=3, help="counted measurements per row and broker")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the amount of data and the durations")
    arguments = parser.parse_args()
    try:
        class_path()
    except NoApacheKafka as reason:
        print(f"There is nothing to compare with: {reason}", file=sys.stderr)
        return 1
    found: list[Compared] = []
    try:
        for part in arguments.only or PARTS:
            for compared in _part(part, arguments.rows, arguments.rounds, arguments.scale):
                found.append(compared)
                print(f"{part}: {compared.name} {compared.ratio:.2f}×", file=sys.stderr, flush=True)
    finally:  # half an hour of measuring is not lost to whatever ends it
        _show(found)
        print(f"stored in {_store(found)}")
    return 0


def _part(part: str, word: str, rounds: int, scale: float) -> Iterator[Compared]:
    def chosen(wanted: Iterator[rows.Row[rows.Under]]) -> list[rows.Row[rows.Under]]:
        return [row for row in wanted if word in row.name]

    def ottla_os() -> BrokerUnderTest:
        return BrokerUnderTest(OTTLA_ACK_DURABILITY="os", OTTLA_LOG_SEGMENT_DELETE_DELAY_MS="0")

    def ottla_flush() -> BrokerUnderTest:
        return BrokerUnderTest(OTTLA_ACK_DURABILITY="flush", OTTLA_LOG_SEGMENT_DELETE_DELAY_MS="0")

    def kafka_flush() -> ApacheKafka:
        return ApacheKafka(**{"log.flush.interval.messages": "1", "log.segment.delete.delay.ms": "0"})

    def kafka() -> ApacheKafka:
        return ApacheKafka(**{"log.segment.delete.delay.ms": "0"})

    if part == "throughput" and (wanted := chosen(rows.throughput_rows())):
        return together(wanted, ottla_os, kafka, rounds=rounds, scale=scale)
    if part == "latency" and (wanted := chosen(rows.latency_rows())):
        return together(wanted, ottla_os, kafka, rounds=rounds, scale=scale)
    if part == "flush" and (wanted := chosen(rows.flush_rows())):
        return together(wanted, ottla_flush, kafka_flush, rounds=rounds, scale=scale)
    if part == "fixed" and (wanted := chosen(rows.fixed_rows())):
        return apart(wanted, ottla_os, ApacheKafka, rounds=min(rounds, 3), scale=scale)
    if part.startswith("cluster"):
        return _cluster_part(part, word, rounds, scale)
    return iter(())


def _cluster_part(part: str, word: str, rounds: int, scale: float) -> Iterator[Compared]:
    """Three brokers each; Kafka never flushes, as it is run in production, beside both of Ottla's durabilities."""

    def ottla(durability: str) -> Callable[[], OttlaCluster]:
        return lambda: OttlaCluster(OTTLA_ACK_DURABILITY=durability, OTTLA_LOG_SEGMENT_DELETE_DELAY_MS="0")

    if part == "cluster-fixed":
        wanted = [row for row in cluster_rows.fixed_rows() if word in row.name]
        return apart(wanted, ottla("flush"), ApacheCluster, rounds=min(rounds, 3), scale=scale)
    durability, aim = ("flush", 2.0) if part == "cluster-flush" else ("os", 2.5)
    wanted = [row for row in cluster_rows.warm_rows(durability, aim) if word in row.name]
    return together(wanted, ottla(durability), ApacheCluster, rounds=rounds, scale=scale)


def _show(found: list[Compared]) -> None:
    table = Table("row", "unit", "Ottla", "Kafka", "ratio", "aim", "")
    for column in table.columns[2:6]:
        column.justify = "right"
    for compared in found:
        bound = "≤" if compared.figure.less_is_better else "≥"
        table.add_row(
            compared.name,
            compared.figure.unit,
            f"{statistics.median(compared.ottla):,.3g}",
            f"{statistics.median(compared.kafka):,.3g}",
            f"{compared.ratio:.2f}",
            f"{bound} {compared.figure.aim:g}",
            "" if compared.met else "short",
        )
    Console(width=160).print(table)


def _store(found: list[Compared]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("kafka-%Y%m%d-%H%M%S.json")
    kept = [
        {
            "row": compared.name,
            "unit": compared.figure.unit,
            "aim": compared.figure.aim,
            "ottla": compared.ottla,
            "kafka": compared.kafka,
            "ratio": compared.ratio,
        }
        for compared in found
    ]
    path.write_text(json.dumps({"machine": machine(), "rows": kept}, indent=1))
    return path


if __name__ == "__main__":
    sys.exit(main())
