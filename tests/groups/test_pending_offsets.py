"""Offsets of open transactions: who wins is decided by the order of the commits, not of the markers."""

from __future__ import annotations

import pytest

from broker.coordination.transaction import TransactionalProducer
from broker.groups.offsets import always
from broker.groups.pending_offsets import PendingOffsets
from broker.groups.records import OffsetRecord, OffsetValue

A = TransactionalProducer(producer_id=1, producer_epoch=0)
B = TransactionalProducer(producer_id=2, producer_epoch=7)


def record(offset: int | None, group: str = "g", topic: str = "t", partition: int = 0) -> OffsetRecord:
    value = None if offset is None else OffsetValue(offset=offset, commit_timestamp_ms=0)
    return OffsetRecord(group_id=group, topic=topic, partition=partition, value=value)


@pytest.fixture
def pending() -> PendingOffsets:
    return PendingOffsets()


def test_a_commit_brings_the_newest_offset_of_each_partition_into_force(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    pending.add(record(5, partition=1), A)
    pending.add(record(2), A)
    assert pending.complete(1, commit=True) == ([record(2), record(5, partition=1)], {"g"})
    assert pending.complete(1, commit=True) == ([], set())


def test_an_abort_brings_nothing_into_force_and_leaves_nothing(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    assert pending.complete(1, commit=False) == ([], {"g"})
    assert not pending.is_unstable("g", "t", 0)
    assert not pending.concerns("g")


def test_each_producer_ends_only_its_own(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    pending.add(record(2, partition=1), B)
    pending.complete(1, commit=True)
    assert not pending.is_unstable("g", "t", 0)
    assert pending.is_unstable("g", "t", 1)
    assert pending.complete(B.producer_id, commit=False) == ([], {"g"}), "its own transaction was open until now"
    assert not pending.concerns("g")


def test_a_plain_commit_beats_what_was_pending_before_it_but_not_what_comes_later(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    pending.overtake(record(9))
    assert pending.is_unstable("g", "t", 0), "the transaction is still open"
    assert pending.complete(1, commit=True) == ([], {"g"})
    pending.overtake(record(9))
    pending.add(record(2), A)
    assert pending.complete(1, commit=True)[0] == [record(2)]


def test_a_new_pending_commit_of_the_same_producer_is_not_overtaken_any_more(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    pending.overtake(record(9))
    pending.add(record(2), A)
    assert pending.complete(1, commit=True)[0] == [record(2)]


def test_of_two_transactions_the_later_commit_wins_whichever_marker_comes_first(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    pending.add(record(2), B)
    assert pending.complete(2, commit=True)[0] == [record(2)]
    assert pending.complete(1, commit=True)[0] == []
    pending.add(record(3), A)
    pending.add(record(4), B)
    assert pending.complete(1, commit=True)[0] == [record(3)]
    assert pending.complete(2, commit=True)[0] == [record(4)]


def test_an_aborted_transaction_overtakes_nobody(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    pending.add(record(2), B)
    pending.complete(2, commit=False)
    assert pending.complete(1, commit=True)[0] == [record(1)]


def test_a_tombstone_takes_every_pending_offset_of_its_partition(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    pending.add(record(2), B)
    pending.add(record(3, partition=1), B)
    pending.remove(record(None))
    assert not pending.is_unstable("g", "t", 0)
    assert pending.complete(1, commit=True) == ([], set())
    assert pending.complete(2, commit=True)[0] == [record(3, partition=1)]


def test_tombstones_name_each_pending_partition(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    pending.add(record(3, partition=1), A)
    pending.add(record(4, group="other"), A)
    assert pending.tombstones("g", always) == [record(None), record(None, partition=1)]
    assert pending.tombstones("g", lambda topic, partition, value: partition == 1) == [record(None, partition=1)]


def test_a_transaction_is_open_for_its_own_epoch_only(pending: PendingOffsets) -> None:
    pending.add(record(1), A)
    assert pending.is_open(A)
    assert not pending.is_open(TransactionalProducer(producer_id=1, producer_epoch=1))
    pending.complete(1, commit=True)
    assert not pending.is_open(A)
