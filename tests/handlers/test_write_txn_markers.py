"""WriteTxnMarkers against a running broker: written per partition, fenced per partition, committed when answered."""

from __future__ import annotations

import itertools

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.batch import scan_batches
from broker.protocol.markers import EndTransactionMarker, read_marker
from broker.types import OFFSETS_TOPIC, TRANSACTIONS_TOPIC
from tests.support.topics import create_topic, fetch
from tests.support.wait import wait_until
from tests.support.wire import Wire

_producers = itertools.count(5_000)


def markers_request(
    producer: int, topics: dict[str, list[int]], *, epoch=0, commit=True, coordinator_epoch=0, version=0
):
    r = m.WriteTxnMarkersRequest
    return r(
        markers=[
            r.WritableTxnMarker(
                producer_id=producer,
                producer_epoch=epoch,
                transaction_result=commit,
                topics=[
                    r.WritableTxnMarkerTopic(name=name, partition_indexes=indexes) for name, indexes in topics.items()
                ],
                coordinator_epoch=coordinator_epoch,
                transaction_version=version,
            )
        ]
    )


def codes(answer) -> list[int]:
    return [p.error_code for marker in answer.markers for topic in marker.topics for p in topic.partitions]


@pytest.mark.parametrize("version", [1, 2])
def test_each_partition_gets_the_marker_and_answers_when_it_is_committed(wire: Wire, version: int) -> None:
    topic, producer = create_topic(wire, partitions=2), next(_producers)

    answer = wire.call(
        ApiKey.WRITE_TXN_MARKERS, version, markers_request(producer, {topic: [0, 1]}, commit=False, coordinator_epoch=4)
    )

    assert [marker.producer_id for marker in answer.markers] == [producer]
    assert codes(answer) == [0, 0]
    for index in (0, 1):
        found = fetch(wire, topic, partition=index)
        assert found.high_watermark == 1
        assert found.records is not None
        ((at, header),) = scan_batches(found.records)
        assert (header.producer_id, header.is_control) == (producer, True)
        assert read_marker(found.records, at) == EndTransactionMarker(False, 4)


def test_partitions_fail_on_their_own(wire: Wire) -> None:
    topic, producer = create_topic(wire), next(_producers)

    answer = wire.call(ApiKey.WRITE_TXN_MARKERS, 1, markers_request(producer, {topic: [0, 7], "no-such-topic": [0]}))

    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert codes(answer) == [0, unknown, unknown]


def test_older_epochs_are_fenced(wire: Wire) -> None:
    topic, producer = create_topic(wire), next(_producers)
    first = markers_request(producer, {topic: [0]}, epoch=5, coordinator_epoch=8)
    assert codes(wire.call(ApiKey.WRITE_TXN_MARKERS, 1, first)) == [0]

    older = markers_request(producer, {topic: [0]}, epoch=4, coordinator_epoch=8)
    zombie = markers_request(producer, {topic: [0]}, epoch=5, coordinator_epoch=7)

    assert codes(wire.call(ApiKey.WRITE_TXN_MARKERS, 1, older)) == [ErrorCode.INVALID_PRODUCER_EPOCH]
    assert codes(wire.call(ApiKey.WRITE_TXN_MARKERS, 1, zombie)) == [ErrorCode.TRANSACTION_COORDINATOR_FENCED]
    assert fetch(wire, topic).high_watermark == 1


def test_the_group_coordinator_writes_the_markers_of_its_partitions(wire: Wire) -> None:
    r = m.FindCoordinatorRequest
    wait_until(
        lambda: wire.call(ApiKey.FIND_COORDINATOR, 4, r(key_type=0, coordinator_keys=["g"])).coordinators[0].port > 0,
        "the offsets topic is there",
    )
    producer = next(_producers)

    def written() -> bool:
        return codes(wire.call(ApiKey.WRITE_TXN_MARKERS, 2, markers_request(producer, {OFFSETS_TOPIC: [0]}))) == [0]

    wait_until(written, "partition 0 has its coordinator")
    older = markers_request(producer, {OFFSETS_TOPIC: [0]}, epoch=-1)
    assert codes(wire.call(ApiKey.WRITE_TXN_MARKERS, 2, older)) == [ErrorCode.INVALID_RECORD]
    nobody_leads = markers_request(producer, {OFFSETS_TOPIC: [9_999]})
    assert codes(wire.call(ApiKey.WRITE_TXN_MARKERS, 2, nobody_leads)) == [ErrorCode.NOT_LEADER_OR_FOLLOWER]


def test_the_log_of_transactions_takes_no_markers(wire: Wire) -> None:
    answer = wire.call(ApiKey.WRITE_TXN_MARKERS, 2, markers_request(next(_producers), {TRANSACTIONS_TOPIC: [0]}))

    assert codes(answer) == [ErrorCode.INVALID_TOPIC_EXCEPTION]


def test_no_producer_is_no_transaction(wire: Wire) -> None:
    topic = create_topic(wire)

    answer = wire.call(ApiKey.WRITE_TXN_MARKERS, 1, markers_request(-1, {topic: [0]}))

    assert codes(answer) == [ErrorCode.INVALID_RECORD]


def test_no_markers_are_answered_too(wire: Wire) -> None:
    answer = wire.call(ApiKey.WRITE_TXN_MARKERS, 2, m.WriteTxnMarkersRequest(markers=[]))

    assert answer.markers == []
