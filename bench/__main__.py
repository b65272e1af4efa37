"""`python -m bench [--only WORD] [--scale F]`: run the rows, print a table, store JSON."""

from __future__ import annotations

import argparse

from rich.progress import Progress, SpinnerColumn, TextColumn

from bench import connections, consumer_groups, groups, growth, report, rows, sessions

PARTS = {
    "os": lambda scale: rows.produce_and_fetch("os", scale),
    "flush": lambda scale: rows.produce_and_fetch("flush", scale),
    "client": lambda scale: rows.client_throughput("os", scale),
    "latency": rows.latencies,
    "fixed": rows.fixed_costs,
    "compaction": rows.compactions,
    "growth": growth.growth,
    "sessions": sessions.fetch_sessions,
    "groups": groups.groups,
    "consumer-groups": consumer_groups.consumer_groups,
    "connections": connections.connections,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="run these parts alone")
    parser.add_argument("--scale", type=float, default=1.0, help="multiply the amount of data and the durations")
    arguments = parser.parse_args()
    found: list[rows.Row] = []
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), transient=True) as progress:
        task = progress.add_task("starting")
        for name in arguments.only or PARTS:
            progress.update(task, description=f"{name} …")
            for row in PARTS[name](arguments.scale):
                found.append(row)
                progress.update(task, description=row.name)
    report.show(found)
    print(f"stored in {report.store(found)}")


if __name__ == "__main__":
    main()
