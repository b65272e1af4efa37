"""What the replicas hold at the end of a run: the second input of the checker.

Owns the values and their JSON lines, and the one thing to be derived from a log alone: which transactional records
were committed, by the markers that follow them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.faults.checker.history import Seen

DATA, TRANSACTIONAL, COMMIT, ABORT, OTHER_CONTROL = "data", "transactional", "commit", "abort", "control"


class Batch(msgspec.Struct, array_like=True, frozen=True):
    """One record batch as it lies in the file."""

    base: int
    last: int
    epoch: int
    """The leader epoch that wrote it."""
    crc: int
    kind: str = DATA
    producer_id: int = -1
    producer_epoch: int = -1
    sequence: int = -1
    records: list[Seen] = []


class Replica(msgspec.Struct, kw_only=True, frozen=True):
    broker: int
    key: str
    log_start: int
    log_end: int
    high_watermark: int
    epochs: list[tuple[int, int]] = []
    """(leader epoch, start offset), as in the epoch file."""
    batches: list[Batch] = []


class View(msgspec.Struct, kw_only=True):
    """The records of one replica, told apart by what a reader of committed data may see."""

    visible: dict[int, Seen] = msgspec.field(default_factory=dict)
    aborted: dict[int, Seen] = msgspec.field(default_factory=dict)
    open: dict[int, Seen] = msgspec.field(default_factory=dict)
    """Their transaction has no marker yet."""
    markers: set[int] = msgspec.field(default_factory=set)


_REPLICAS = msgspec.json.Decoder(Replica)


def write_dump(path: Path, replicas: Iterable[Replica]) -> None:
    path.write_bytes(b"".join(msgspec.json.encode(replica) + b"\n" for replica in replicas))


def read_dump(path: Path) -> list[Replica]:
    return [_REPLICAS.decode(line) for line in path.read_bytes().splitlines()]


def view_of(replica: Replica) -> View:
    view = View()
    undecided: dict[int, list[Seen]] = {}
    for batch in replica.batches:
        if batch.kind in (COMMIT, ABORT):
            view.markers.add(batch.base)
            decided = view.visible if batch.kind == COMMIT else view.aborted
            decided.update((record.offset, record) for record in undecided.pop(batch.producer_id, ()))
        elif batch.kind == OTHER_CONTROL:
            view.markers.add(batch.base)
        elif batch.kind == TRANSACTIONAL:
            undecided.setdefault(batch.producer_id, []).extend(batch.records)
        else:
            view.visible.update((record.offset, record) for record in batch.records)
    for records in undecided.values():
        view.open.update((record.offset, record) for record in records)
    return view
