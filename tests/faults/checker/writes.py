"""Rules about writes: none lost, invented, doubled, moved or out of order."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.checker.history import DAMAGED, TOMBSTONE, Operation, Sent
from tests.faults.checker.run import Run
from tests.faults.checker.verdict import Anomaly


def lost_writes(run: Run) -> Iterator[Anomaly]:
    """Committed, and passed over by every reader; or committed, and not in a replica's log at the end."""
    held = [
        (replica, {record.value for batch in replica.batches for record in batch.records}) for replica in run.replicas
    ]
    by_key: dict[str, list[tuple[int, int, set[int]]]] = {}
    for replica, values in held:
        by_key.setdefault(replica.key, []).append((replica.broker, replica.log_start, values))
    for operation, sent, offset in _committed_writes(run):
        if run.is_compacted(sent.key) or 0 <= offset < run.log_starts.get(sent.key, 0):
            continue
        polled = run.polled.get(sent.key)
        passed = polled is not None and polled.lowest <= offset <= polled.highest
        if passed and polled is not None and sent.value not in polled.values:
            yield _lost(sent, offset, operation, "no reader saw it, though some read on behind it")
        if run.dumped and sent.key not in by_key:
            yield _lost(sent, offset, operation, "no broker has a log of the partition")
        for broker, log_start, values in by_key.get(sent.key, ()):
            if sent.value not in values and not 0 <= offset < log_start:
                yield _lost(sent, offset, operation, f"it is not in the log of broker {broker}")


def _committed_writes(run: Run) -> Iterator[tuple[Operation, Sent, int]]:
    for operation in run.operations:
        if operation.sends and run.is_committed(operation):
            for sent in operation.sends:
                if sent.value != TOMBSTONE:
                    yield operation, sent, run.offset_of(sent.key, sent.value)


def _lost(sent: Sent, offset: int, operation: Operation, why: str) -> Anomaly:
    where = f"at {offset}" if offset >= 0 else "somewhere"
    return Anomaly(
        name="lost write",
        detail=f"{sent.key} {where}: {sent.value} of {operation.process}: {why}",
        at_ns=operation.completed_ns,
    )


def phantoms(run: Run) -> Iterator[Anomaly]:
    """Read, and never sent: to this partition, or in these bytes."""

    def judge(key: str, offset: int, value: int, who: str, at_ns: int) -> Iterator[Anomaly]:
        if value == TOMBSTONE or run.sent_to.get(value) == key:
            return
        if value == DAMAGED:
            why = "the bytes are not what anybody sent"
        elif value in run.sent_to:
            why = f"it was sent to {run.sent_to[value]}"
        else:
            why = "nobody sent it"
        yield Anomaly(name="phantom", detail=f"{key} at {offset}: {value}, read by {who}: {why}", at_ns=at_ns)

    for operation, key, records in run.polls():
        for record in records:
            yield from judge(key, record.offset, record.value, operation.process, operation.completed_ns)
    for replica in run.replicas:
        for batch in replica.batches:
            for record in batch.records:
                yield from judge(replica.key, record.offset, record.value, f"the dump of broker {replica.broker}", 0)


def inconsistent_offsets(run: Run) -> Iterator[Anomaly]:
    """One offset, two values: over writes, polls, replicas and time."""
    for key, offset, one, other, who in run.conflicts():
        yield Anomaly(name="inconsistent offset", detail=f"{key} at {offset}: {one}, but {other} says {who}")


def duplicates(run: Run) -> Iterator[Anomaly]:
    """One value, two offsets. Producers without idempotence may do that; they are only counted."""
    for key, value, one, other in run.twice():
        writer = run.writers.get(value)
        promised = writer is None or writer.about.idempotent
        yield Anomaly(
            name="duplicate" if promised else "duplicate of a producer that does not promise",
            detail=f"{key}: {value} at {one} and at {other}",
            warning=not promised,
        )


def reordered_sends(run: Run) -> Iterator[Anomaly]:
    """A later write of one producer in front of an earlier one; also inside a transaction."""
    last: dict[tuple[str, str], tuple[int, int]] = {}
    for operation in run.operations:
        if operation.outcome == "fail" and operation.f == "send":
            continue
        for sent in operation.sends:
            if not operation.about.idempotent or sent.value == TOMBSTONE:
                continue
            offset = sent.offset if sent.offset >= 0 else run.offset_of(sent.key, sent.value)
            if offset < 0:
                continue
            before = last.get((operation.process, sent.key))
            if before is not None and offset <= before[0]:
                yield Anomaly(
                    name="reordered send",
                    detail=f"{sent.key}: {operation.process} sent {before[1]}, then {sent.value}, at {before[0]} and {offset}",
                    at_ns=operation.completed_ns,
                )
            last[operation.process, sent.key] = (offset, sent.value)


RULES = (lost_writes, phantoms, inconsistent_offsets, duplicates, reordered_sends)
