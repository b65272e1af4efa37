"""Rules about transactions: whole or not at all, and unseen until they are decided."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from tests.faults.checker.history import READ_COMMITTED, Operation
from tests.faults.checker.run import SECOND_NS, Run, topic_of
from tests.faults.checker.verdict import Anomaly


def aborted_reads(run: Run) -> Iterator[Anomaly]:
    """G1a: what was aborted or refused, in the hands of somebody who was promised not to get it."""
    for operation, key, records in run.polls():
        committed_only = operation.about.isolation == READ_COMMITTED
        for record in records:
            writer = run.writers.get(record.value)
            if writer is None:
                continue
            if writer.outcome == "fail" and (committed_only or writer.f != "txn"):
                yield _aborted(operation, key, record.offset, record.value, f"{writer.process} was told that it failed")
            elif committed_only and record.value in run.aborted_values:
                yield _aborted(operation, key, record.offset, record.value, "its transaction has an abort marker")


def _aborted(operation: Operation, key: str, offset: int, value: int, why: str) -> Anomaly:
    return Anomaly(
        name="aborted read",
        detail=f"{key} at {offset}: {operation.process} read {value}: {why}",
        at_ns=operation.completed_ns,
    )


def early_reads(run: Run) -> Iterator[Anomaly]:
    """A transaction that reads itself; a read of committed data at or above what the last stable offset was later."""
    later = _LaterMinimum(run)
    for operation, key, records in run.polls():
        own = {sent.value for sent in operation.sends}
        if own:
            for record in records:
                if record.value in own:
                    yield Anomaly(
                        name="early read",
                        detail=f"{key} at {record.offset}: {operation.process} read {record.value}, which it is writing",
                        at_ns=operation.completed_ns,
                    )
        if operation.about.isolation == READ_COMMITTED:
            stable = later.after(key, operation.completed_ns)
            if stable is not None and records[-1].offset >= stable:
                yield Anomaly(
                    name="early read",
                    detail=f"{key}: {operation.process} read {records[-1].offset}; only later was {stable} stable",
                    at_ns=operation.completed_ns,
                )


class _LaterMinimum:
    """The lowest last stable offset that anybody was told by the leader, among those who asked after a moment.

    A former leader that was cut off answers under its older epoch until it hears of its successor, whose records others
    have read meanwhile. The successor was leader for a while before it was first observed, hence ``SUCCESSION_NS``.
    """

    SUCCESSION_NS = 5 * SECOND_NS

    def __init__(self, run: Run) -> None:
        observed: dict[str, list[Operation]] = defaultdict(list)
        for operation in run.operations:
            if operation.f == "observe" and operation.outcome == "ok" and operation.about.last_stable >= 0:
                observed[operation.about.key].append(operation)
        self._times: dict[str, list[int]] = {}
        self._lowest: dict[str, list[int]] = {}
        for key, found in observed.items():
            asked = list(self._of_leaders(found))
            self._times[key] = [one.invoked_ns for one in asked]
            lowest = [one.about.last_stable for one in asked]
            for place in range(len(lowest) - 2, -1, -1):
                lowest[place] = min(lowest[place], lowest[place + 1])
            self._lowest[key] = lowest

    @classmethod
    def _of_leaders(cls, observations: list[Operation]) -> Iterator[Operation]:
        first_seen: dict[int, int] = {}
        for one in observations:
            first_seen.setdefault(one.about.leader_epoch, one.completed_ns)
        for one in observations:
            epoch = one.about.leader_epoch
            succeeded = (at - cls.SUCCESSION_NS for later, at in first_seen.items() if later > epoch >= 0)
            if one.completed_ns <= min(succeeded, default=one.completed_ns):
                yield one

    def after(self, key: str, at_ns: int) -> int | None:
        times = self._times.get(key)
        if times is None:
            return None
        place = bisect_left(times, at_ns)
        return self._lowest[key][place] if place < len(times) else None


def torn_transactions(run: Run) -> Iterator[Anomaly]:
    """At the end each transaction is there whole or not at all, and as its producer was told."""
    for operation in run.operations:
        if operation.f != "txn" or not operation.sends:
            continue
        judged = [
            sent
            for sent in operation.sends
            if sent.key in run.views
            and not 0 <= run.offset_of(sent.key, sent.value) < run.log_starts.get(sent.key, 0)
            and not run.is_compacted(sent.key)
        ]
        there = [sent for sent in judged if sent.value in run.visible_values]
        if not judged:
            continue
        if operation.outcome == "fail" and there:
            yield _torn(operation, f"was aborted, and {there[0].value} is there")
        elif operation.outcome == "ok" and not there:
            yield _torn(operation, "was committed, and nothing of it is there")
        elif there and len(there) < len(judged):
            missing = next(sent for sent in judged if sent.value not in run.visible_values)
            yield _torn(
                operation,
                f"{len(there)} of {len(judged)} records are there; {missing.value} in {missing.key} is not",
            )


def _torn(operation: Operation, why: str) -> Anomaly:
    return Anomaly(
        name="torn transaction",
        detail=f"transaction {operation.index} of {operation.process}: {why}",
        at_ns=operation.completed_ns,
    )


def copied_once(run: Run) -> Iterator[Anomaly]:
    """A pipeline's sink has every record of its source exactly once."""
    source_of = {
        sent.value: sent.source
        for operation in run.operations
        if operation.f == "txn"
        for sent in operation.sends
        if sent.source
    }
    for source, sink in run.expectations.copies:
        counts: dict[int, int] = defaultdict(int)
        for key, view in run.views.items():
            if topic_of(key) == sink:
                for record in view.visible.values():
                    counts[source_of.get(record.value, 0)] += 1
        wanted = [
            (key, record)
            for key, view in run.views.items()
            if topic_of(key) == source
            for record in view.visible.values()
        ]
        for key, record in wanted:
            count = counts.get(record.value, 0)
            if count != 1:
                yield Anomaly(
                    name="not exactly once",
                    detail=f"{key} at {record.offset}: {record.value} was copied {count} times to {sink}",
                )


RULES = (aborted_reads, early_reads, torn_transactions, copied_once)
