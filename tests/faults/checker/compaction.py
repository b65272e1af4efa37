"""The rule of compacted topics: at the end each key has the last value that was written for it, or none after a tombstone.

The model is replayed from what writers and readers know of offsets; the logs may only hold the same or something later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tests.faults.checker.history import TOMBSTONE, Seen
from tests.faults.checker.run import Run, topic_of
from tests.faults.checker.verdict import Anomaly


def last_value_of_every_key(run: Run) -> Iterator[Anomaly]:
    if not run.expectations.compacted:
        return
    model = _model(run)
    for replica in run.replicas:
        if topic_of(replica.key) not in run.expectations.compacted:
            continue
        last: dict[str, Seen] = {}
        for batch in replica.batches:
            for record in batch.records:
                last[record.record] = record
        where = f"{replica.key} on broker {replica.broker}"
        for record_key, wanted in model[replica.key].items():
            found = last.get(record_key)
            if found is None:
                if wanted.value != TOMBSTONE:
                    yield _wrong(where, record_key, wanted, "is gone")
            elif found.offset < wanted.offset:
                yield _wrong(where, record_key, wanted, f"has come back as {found.value} at {found.offset}")
            elif found.offset == wanted.offset and found.value != wanted.value:
                yield _wrong(where, record_key, wanted, f"is {found.value}")


def _model(run: Run) -> dict[str, dict[str, Seen]]:
    model: dict[str, dict[str, Seen]] = defaultdict(dict)

    def learn(key: str, record: Seen) -> None:
        before = model[key].get(record.record)
        if before is None or record.offset > before.offset:
            model[key][record.record] = record

    for operation in run.operations:
        if operation.outcome == "ok":
            for sent in operation.sends:
                if sent.offset >= 0:
                    learn(sent.key, Seen(sent.offset, sent.value, sent.record))
        for key, records in operation.polls.items():
            for record in records:
                learn(key, record)
    return model


def _wrong(where: str, record_key: str, wanted: Seen, what: str) -> Anomaly:
    last = "a tombstone" if wanted.value == TOMBSTONE else str(wanted.value)
    return Anomaly(
        name="compaction changed a key", detail=f"{where}: {record_key!r}, last {last} at {wanted.offset}, {what}"
    )


RULES = (last_value_of_every_key,)
