"""TxnOffsetCommit v5 as transactions v2 use it (KIP-890): no AddOffsetsToTxn before, another epoch with every transaction."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import create_topic
from tests.support.wait import wait_until
from tests.support.wire import Wire

_numbers = itertools.count()


class Transactional:
    """One producer and one group of its own, in plain frames."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.name = f"wired-{next(_numbers)}"
        self.topic = create_topic(wire, partitions=2)
        for key_type in (0, 1):
            find = m.FindCoordinatorRequest(key_type=key_type, coordinator_keys=[self.name])
            self.until_fine(lambda find=find: wire.call(ApiKey.FIND_COORDINATOR, 4, find).coordinators[0])
        self.producer_id, self.epoch = self.init()

    def until_fine(self, ask: Callable[[], Any]) -> Any:
        """Coordinators may still be loading."""

        def answer() -> Any:
            found = ask()
            retriable = found.error_code in (
                ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
                ErrorCode.COORDINATOR_NOT_AVAILABLE,
                ErrorCode.NOT_COORDINATOR,
                ErrorCode.CONCURRENT_TRANSACTIONS,
            )
            return None if retriable else found

        return wait_until(answer, "an answer that is no excuse")

    def init(self) -> tuple[int, int]:
        request = m.InitProducerIdRequest(
            transactional_id=self.name, transaction_timeout=60_000, producer_id=-1, producer_epoch=-1
        )
        answer = self.until_fine(lambda: self.wire.call(ApiKey.INIT_PRODUCER_ID, 5, request))
        assert answer.error_code == 0
        return answer.producer_id, answer.producer_epoch

    def commit(self, offset: int, *, partition: int = 0, epoch: int | None = None, version: int = 5) -> int:
        r = m.TxnOffsetCommitRequest
        item = r.TxnOffsetCommitRequestPartition(
            partition_index=partition, committed_offset=offset, committed_metadata=""
        )
        request = r(
            transactional_id=self.name,
            group_id=self.name,
            producer_id=self.producer_id,
            producer_epoch=self.epoch if epoch is None else epoch,
            topics=[r.TxnOffsetCommitRequestTopic(name=self.topic, partitions=[item])],
        )

        def ask() -> Any:
            return self.wire.call(ApiKey.TXN_OFFSET_COMMIT, version, request).topics[0].partitions[0]

        return self.until_fine(ask).error_code

    def end(self, *, committed: bool) -> None:
        request = m.EndTxnRequest(
            transactional_id=self.name,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            committed=committed,
        )
        answer = self.until_fine(lambda: self.wire.call(ApiKey.END_TXN, 5, request))
        assert answer.error_code == 0
        self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch

    def offsets(self) -> list[int]:
        """Stable ones, once they are."""
        r = m.OffsetFetchRequest
        topics = [r.OffsetFetchRequestTopics(name=self.topic, partition_indexes=[0, 1])]
        request = r(groups=[r.OffsetFetchRequestGroup(group_id=self.name, topics=topics)], require_stable=True)

        def ask() -> list[int] | None:
            (group,) = self.wire.call(ApiKey.OFFSET_FETCH, 9, request).groups
            if group.error_code or any(one.error_code for one in group.topics[0].partitions):
                return None
            return [one.committed_offset for one in group.topics[0].partitions]

        return wait_until(ask, "stable offsets")


@pytest.fixture
def producer(wire: Wire) -> Transactional:
    return Transactional(wire)


def test_the_partition_of_the_group_joins_the_transaction_by_being_written_to(producer: Transactional) -> None:
    first_epoch = producer.epoch
    assert producer.commit(5) == 0
    assert producer.commit(6, partition=1) == 0
    producer.end(committed=True)
    assert producer.epoch == first_epoch + 1
    assert producer.offsets() == [5, 6]
    assert producer.commit(9) == 0
    producer.end(committed=False)
    assert producer.offsets() == [5, 6]


def test_the_epoch_of_a_transaction_that_is_over_is_fenced(producer: Transactional) -> None:
    old_epoch = producer.epoch
    producer.commit(5)
    producer.end(committed=True)
    assert producer.offsets() == [5, -1], "and the marker is there"
    assert producer.commit(9, epoch=old_epoch) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert producer.offsets() == [5, -1]


@pytest.mark.parametrize(("version", "code"), [(4, ErrorCode.TRANSACTION_ABORTABLE), (3, ErrorCode.INVALID_TXN_STATE)])
def test_before_v5_an_offset_that_was_not_announced_is_refused(
    producer: Transactional, version: int, code: ErrorCode
) -> None:
    assert producer.commit(5, version=version) == code
    assert producer.offsets() == [-1, -1]


def test_before_v5_an_announced_offset_is_accepted(producer: Transactional) -> None:
    request = m.AddOffsetsToTxnRequest(
        transactional_id=producer.name,
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        group_id=producer.name,
    )
    added = producer.until_fine(lambda: producer.wire.call(ApiKey.ADD_OFFSETS_TO_TXN, 3, request))
    assert added.error_code == 0
    assert producer.commit(5, version=3) == 0
    producer.end(committed=True)
    assert producer.offsets() == [5, -1]
