"""All rules over one run, and figures about it. ``python -m tests.faults.checker DIRECTORY`` judges a kept run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.faults.checker import (
    availability,
    compaction,
    cycles,
    groups,
    reads,
    replicas,
    transactions,
    watermarks,
    writes,
)
from tests.faults.checker.dump import Replica, read_dump
from tests.faults.checker.history import Event, read_directory
from tests.faults.checker.run import SECOND_NS, Expectations, Run
from tests.faults.checker.verdict import Report

MODULES = (writes, reads, transactions, cycles, replicas, watermarks, groups, compaction, availability)
RULES = tuple(rule for module in MODULES for rule in module.RULES)
DUMP_FILE = "replicas.dump"


def check(
    events: Iterable[Event], dump: Iterable[Replica] | None = None, expectations: Expectations | None = None
) -> Report:
    """``dump``: every replica there is at the end; ``None`` if nobody looked."""
    run = Run(events, dump, expectations)
    report = Report(timeline=_timeline(run), figures=_figures(run))
    for rule in RULES:
        report.add(rule(run))
    return report


def check_directory(directory: Path, expectations: Expectations | None = None) -> Report:
    path = directory / DUMP_FILE
    return check(read_directory(directory), read_dump(path) if path.exists() else None, expectations)


def _timeline(run: Run) -> list[tuple[float, str]]:
    return [
        ((one.invoked_ns - run.begin_ns) / SECOND_NS, one.about.what)
        for one in run.operations
        if one.f == "nemesis" and one.about.what
    ]


def _figures(run: Run) -> dict[str, float]:
    outcomes = {
        outcome: sum(len(one.sends) for one in run.operations if one.outcome == outcome)
        for outcome in ("ok", "fail", "info")
    }
    polled = sum(len(records) for _, _, records in run.polls())
    unread = sum(
        1
        for one in run.operations
        if one.outcome == "ok"
        for sent in one.sends
        if sent.key in run.polled and sent.value not in run.polled[sent.key].values
    )
    return {
        "writes acknowledged": outcomes["ok"],
        "writes failed": outcomes["fail"],
        "writes with unknown outcome": outcomes["info"],
        "records read": polled,
        "acknowledged and never read": unread,
        "seconds": round((run.end_ns - run.begin_ns) / SECOND_NS, 2),
        "longest time a partition was not written, seconds": round(max(availability.gaps(run).values(), default=0), 2),
    }
