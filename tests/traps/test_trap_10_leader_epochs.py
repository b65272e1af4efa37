"""Trap 10: leader epochs only go up, also over a restart, and are the same wherever they are told. A client behind is fenced,
a client ahead is told that we do not know yet, and one that does not say is not checked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.batch import scan_batches
from tests.support.topics import fetch, leader_epoch_of
from tests.support.wire import Wire


@pytest.fixture
def wire(restarted) -> Iterator[Wire]:
    with Wire(restarted[0].port) as wire:
        yield wire


def list_offsets(wire: Wire, topic: str, timestamp: int, current_leader_epoch: int = -1):
    r = m.ListOffsetsRequest
    entry = r.ListOffsetsPartition(partition_index=0, timestamp=timestamp, current_leader_epoch=current_leader_epoch)
    request = r(replica_id=-1, topics=[r.ListOffsetsTopic(name=topic, partitions=[entry])])
    return wire.call(ApiKey.LIST_OFFSETS, 7, request).topics[0].partitions[0]


def epoch_end(wire: Wire, topic: str, epoch: int, current_leader_epoch: int = -1):
    r = m.OffsetForLeaderEpochRequest
    entry = r.OffsetForLeaderPartition(partition=0, leader_epoch=epoch, current_leader_epoch=current_leader_epoch)
    request = r(topics=[r.OffsetForLeaderTopic(topic=topic, partitions=[entry])])
    return wire.call(ApiKey.OFFSET_FOR_LEADER_EPOCH, 4, request).topics[0].partitions[0]


def test_every_life_of_the_leader_has_a_larger_epoch_from_zero_on(restarted) -> None:
    _, _, epochs = restarted
    assert epochs[0] == 0
    assert epochs == sorted(set(epochs))


def test_every_answer_tells_the_same_epoch(wire: Wire, restarted) -> None:
    _, topic, epochs = restarted
    assert leader_epoch_of(wire, topic) == epochs[-1]
    assert list_offsets(wire, topic, -1).leader_epoch == epochs[-1]
    records = fetch(wire, topic).records
    assert [header.leader_epoch for _, header in scan_batches(records)] == epochs, "each batch has its leader's"
    assert [epoch_end(wire, topic, epoch).end_offset for epoch in epochs] == [1, 2, 3]


def test_an_older_epoch_is_fenced_and_a_newer_one_unknown_and_minus_one_is_not_looked_at(wire: Wire, restarted) -> None:
    _, topic, epochs = restarted
    expected = {
        epochs[0]: ErrorCode.FENCED_LEADER_EPOCH,
        epochs[-1]: ErrorCode.NONE,
        epochs[-1] + 1: ErrorCode.UNKNOWN_LEADER_EPOCH,
        -1: ErrorCode.NONE,
    }
    for epoch, code in expected.items():
        assert fetch(wire, topic, current_leader_epoch=epoch).error_code == code
        assert list_offsets(wire, topic, -1, epoch).error_code == code
        assert epoch_end(wire, topic, 0, epoch).error_code == code


def test_the_epoch_of_an_offset_is_that_of_the_record_there(wire: Wire, restarted) -> None:
    _, topic, epochs = restarted
    assert list_offsets(wire, topic, -2).leader_epoch == epochs[0]
