"""Rules about one reader: forward only, and past nothing that it should have been given.

Judged between two assignments: a reader that is given other partitions, or sent elsewhere, says so in its history.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import partial

from tests.faults.checker.history import READ_COMMITTED, Operation, Seen
from tests.faults.checker.run import Run
from tests.faults.checker.verdict import Anomaly


def polls_in_order(run: Run) -> Iterator[Anomaly]:
    visible = _Visible(run)
    last: dict[tuple[str, str], int] = {}
    for operation in run.operations:
        if operation.f == "assign":
            for process, key in [place for place in last if place[0] == operation.process]:
                del last[process, key]
            continue
        for key, records in operation.polls.items():
            place = (operation.process, key)
            skipped = partial(visible.first_between, key, operation.about.isolation == READ_COMMITTED)
            yield from _judge(operation, key, records, last.get(place), skipped)
            if records:
                last[place] = records[-1].offset


def _judge(operation: Operation, key: str, records: list[Seen], before: int | None, skipped) -> Iterator[Anomaly]:
    for record in records:
        if before is not None and record.offset != before + 1:
            if record.offset <= before:
                yield Anomaly(
                    name="non-monotonic poll",
                    detail=f"{key}: {operation.process} read {record.offset} after {before}",
                    at_ns=operation.completed_ns,
                )
            else:
                missed = skipped(before, record.offset)
                if missed is not None:
                    yield Anomaly(
                        name="skipping poll",
                        detail=f"{key}: {operation.process} read {record.offset} after {before}, without {missed}",
                        at_ns=operation.completed_ns,
                    )
        before = record.offset


class _Visible:
    """The offsets of each partition that a reader must not pass over."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sorted: dict[tuple[str, bool], list[int]] = {}

    def first_between(self, key: str, committed_only: bool, after: int, before: int) -> int | None:
        offsets = self._offsets(key, committed_only)
        at = bisect_right(offsets, after)
        return offsets[at] if at < len(offsets) and offsets[at] < before else None

    def _offsets(self, key: str, committed_only: bool) -> list[int]:
        found = self._sorted.get((key, committed_only))
        if found is None:
            found = self._sorted[key, committed_only] = sorted(self._select(key, committed_only))
        return found

    def _select(self, key: str, committed_only: bool) -> Iterator[int]:
        run = self._run
        if run.is_compacted(key):
            return
        start = run.log_starts.get(key, 0)
        for offset, value in run.known[key].values.items():
            writer = run.writers.get(value)
            if offset < start or writer is None:
                continue
            if committed_only and writer.f == "txn" and not run.is_committed(writer):
                continue
            yield offset


RULES = (polls_in_order,)
