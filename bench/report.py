"""A table on the screen and JSON under ``bench/results/``: the same figures twice."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.rows import Row

RESULTS = Path(__file__).parent / "results"
COLUMNS = {
    "mb_s": ("MB/s", "{:,.0f}"),
    "records_s": ("records/s", "{:,.0f}"),
    "requests_s": ("requests/s", "{:,.0f}"),
    "cpu_s_100mb": ("CPU s/100 MB", "{:.3f}"),
    "p50_ms": ("p50 ms", "{:.3f}"),
    "p99_ms": ("p99 ms", "{:.2f}"),
    "max_ms": ("max ms", "{:.1f}"),
    "produce_us": ("produce µs", "{:,.0f}"),
    "fetch_us": ("fetch µs", "{:,.0f}"),
    "cpu_us": ("CPU µs/request", "{:,.0f}"),
    "cpu_s": ("CPU s", "{:.2f}"),
    "seconds": ("seconds", "{:.2f}"),
    "rss_mb": ("RSS MB", "{:.0f}"),
    "kb_each": ("KB each", "{:.1f}"),
    "connects_s": ("connects/s", "{:,.0f}"),
    "cpu_percent": ("CPU %", "{:.2f}"),
    "targets_ms": ("new targets ms", "{:,.1f}"),
    "settled_ms": ("all there ms", "{:,.0f}"),
    "written_records": ("records", "{:,.0f}"),
    "beat_us": ("heartbeat µs", "{:,.1f}"),
    "kept_bytes": ("bytes kept each", "{:,.1f}"),
}


def show(rows: list[Row]) -> None:
    used = [key for key in COLUMNS if any(key in row.figures for row in rows)]
    table = Table("row", *(COLUMNS[key][0] for key in used))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            row.name, *(COLUMNS[key][1].format(row.figures[key]) if key in row.figures else "" for key in used)
        )
    Console(width=160).print(table)


def store(rows: list[Row]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / time.strftime("%Y%m%d-%H%M%S.json")
    path.write_text(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}, indent=1))
    return path


def machine() -> dict[str, object]:
    return {"python": platform.python_version(), "cores": os.cpu_count(), "kernel": platform.release()}
