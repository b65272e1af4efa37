"""Rules about the replicas' files at the end, when all are in sync, and about who led when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations, pairwise

from tests.faults.checker.dump import Batch, Replica
from tests.faults.checker.run import Run
from tests.faults.checker.verdict import Anomaly


def offset_gaps(run: Run) -> Iterator[Anomaly]:
    """Each batch begins where the one before ended, except where compaction worked."""
    for replica in run.replicas:
        expected = None
        for batch in replica.batches:
            if batch.last < batch.base or (expected is not None and batch.base < expected):
                yield _at(replica, "offset gap", f"batch {batch.base}–{batch.last} begins below {expected}")
            elif expected is not None and batch.base > expected and not run.is_compacted(replica.key):
                yield _at(replica, "offset gap", f"{expected} to {batch.base - 1} are missing")
            expected = batch.last + 1
        if expected is not None and expected != replica.log_end:
            yield _at(replica, "offset gap", f"the last batch ends at {expected - 1}, the log at {replica.log_end}")


def epochs_never_fall(run: Run) -> Iterator[Anomaly]:
    for replica in run.replicas:
        for before, after in pairwise(replica.batches):
            if after.epoch < before.epoch:
                yield _at(
                    replica, "leader epoch fell", f"{before.epoch} at {before.base}, {after.epoch} at {after.base}"
                )


def divergent_replicas(run: Run) -> Iterator[Anomaly]:
    by_key: dict[str, list[Replica]] = defaultdict(list)
    for replica in run.replicas:
        by_key[replica.key].append(replica)
    for key, replicas in by_key.items():
        for one, other in combinations(replicas, 2):
            differences = _ends(one, other)
            if run.is_compacted(key):
                # Where an epoch began may be cleaned away on one replica before the other has seen it.
                differences += _records(one, other)
            else:
                differences += [*_epoch_starts(one, other), *_batches(one, other)]
            for difference in differences:
                yield Anomaly(
                    name="divergent replicas", detail=f"{key}, brokers {one.broker} and {other.broker}: {difference}"
                )


def _ends(one: Replica, other: Replica) -> list[str]:
    return [f"logs end at {one.log_end} and {other.log_end}"] if one.log_end != other.log_end else []


def _epoch_starts(one: Replica, other: Replica) -> list[str]:
    # Entries below the log start are moved up to it.
    floor = max(one.log_start, other.log_start)
    theirs = {epoch: max(start, floor) for epoch, start in other.epochs}
    return [
        f"epoch {epoch} starts at {max(start, floor)} and {theirs[epoch]}"
        for epoch, start in one.epochs
        if epoch in theirs and max(start, floor) != theirs[epoch]
    ]


def _batches(one: Replica, other: Replica) -> list[str]:
    floor, ceiling = max(one.log_start, other.log_start), min(one.log_end, other.log_end)
    ours, theirs = ({_place(batch) for batch in each.batches if floor <= batch.base < ceiling} for each in (one, other))
    return [f"batches at {first} differ" for first in sorted({place[0] for place in ours ^ theirs})[:1]]


def _place(batch: Batch) -> tuple[int, int, int, int]:
    return batch.base, batch.last, batch.epoch, batch.crc


def _records(one: Replica, other: Replica) -> list[str]:
    """Compaction rewrites batches on each replica by itself; what both kept must be the same."""
    ours = {record.offset: record for batch in one.batches for record in batch.records}
    return [
        f"records at {record.offset} differ"
        for batch in other.batches
        for record in batch.records
        if ours.get(record.offset, record) != record
    ][:1]


def two_leaders(run: Run) -> Iterator[Anomaly]:
    """Two brokers that answered as the leader of one epoch."""
    leaders: dict[tuple[str, int], int] = {}
    told: set[tuple[str, int]] = set()
    for operation in run.operations:
        about = operation.about
        if operation.outcome != "ok" or about.broker < 0 or about.leader_epoch < 0:
            continue
        for key in {about.key} if about.key else {sent.key for sent in operation.sends}:
            place = (key, about.leader_epoch)
            first = leaders.setdefault(place, about.broker)
            if first != about.broker and place not in told:
                told.add(place)
                yield Anomaly(
                    name="two leaders",
                    detail=f"{key}: brokers {first} and {about.broker} led epoch {about.leader_epoch}",
                    at_ns=operation.completed_ns,
                )


def _at(replica: Replica, name: str, detail: str) -> Anomaly:
    return Anomaly(name=name, detail=f"{replica.key} on broker {replica.broker}: {detail}")


RULES = (offset_gaps, epochs_never_fall, divergent_replicas, two_leaders)
