"""The offsets of groups as Kafka's rules say them, worked out from the whole log anew for every question.

Nothing is kept but the log: a list of what was written, the place in it being the offset. Slow and obvious.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.coordination.transaction import InTransaction, TransactionMarker
from broker.groups.records import OffsetRecord, OffsetValue

Key = tuple[str, str, int]
Entry = OffsetRecord | InTransaction[OffsetRecord] | TransactionMarker


@dataclass(frozen=True)
class Answer:
    in_force: dict[Key, OffsetValue]
    unstable: set[Key]


def key_of(record: OffsetRecord) -> Key:
    return record.group_id, record.topic, record.partition


def read(log: list[tuple[int, Entry]]) -> Answer:
    in_force: dict[Key, tuple[int, OffsetValue]] = {}
    pending: dict[int, dict[Key, tuple[int, OffsetValue]]] = {}
    for place, entry in log:
        if isinstance(entry, TransactionMarker):
            for key, (written, value) in pending.pop(entry.producer_id, {}).items():
                newest, _ = in_force.get(key, (-1, None))
                if entry.commit and written > newest:
                    in_force[key] = written, value
        elif isinstance(entry, InTransaction):
            assert entry.record.value is not None
            mine = pending.setdefault(entry.producer.producer_id, {})
            mine[key_of(entry.record)] = place, entry.record.value
        elif entry.value is not None:
            in_force[key_of(entry)] = place, entry.value
        else:
            in_force.pop(key_of(entry), None)
            for offsets in pending.values():
                offsets.pop(key_of(entry), None)
    return Answer(
        in_force={key: value for key, (_, value) in in_force.items()},
        unstable={key for offsets in pending.values() for key in offsets},
    )


def compacted(log: list[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
    """The log as a cleaner may leave it: below the first open transaction, of each key the last record that holds."""
    opened: dict[int, int] = {}
    aborted: set[int] = set()
    for place, entry in log:
        if isinstance(entry, InTransaction):
            opened.setdefault(entry.producer.producer_id, place)
        elif isinstance(entry, TransactionMarker):
            start = opened.pop(entry.producer_id, None)
            if start is not None and not entry.commit:
                aborted |= {
                    at
                    for at, one in log
                    if start <= at < place
                    and isinstance(one, InTransaction)
                    and one.producer.producer_id == entry.producer_id
                }
    stable = min(opened.values(), default=len(log) and log[-1][0] + 1)
    last: dict[Key, int] = {}
    for place, entry in log:
        if place < stable and place not in aborted and not isinstance(entry, TransactionMarker):
            last[key_of(entry.record if isinstance(entry, InTransaction) else entry)] = place
    kept = set(last.values())
    return [
        (place, entry)
        for place, entry in log
        if place >= stable or place in kept or isinstance(entry, TransactionMarker)
    ]
