"""Groups' records in batches: cut to size, in every codec, and strangers between them."""

from __future__ import annotations

import pytest

from broker.coordination.transaction import InTransaction, TransactionalProducer, TransactionMarker
from broker.groups.batches import GroupRecordCodec
from broker.groups.records import OffsetRecord, OffsetValue
from broker.protocol.batch import COMPRESSION_NAMES, read_header
from broker.protocol.markers import build_marker
from broker.protocol.records import Record, build_batch

PRODUCER = TransactionalProducer(producer_id=9, producer_epoch=3)


def offset(partition: int) -> OffsetRecord:
    value = OffsetValue(offset=5, commit_timestamp_ms=1, metadata="m" * 40)
    return OffsetRecord(group_id="g", topic="t", partition=partition, value=value)


@pytest.mark.parametrize("compression", COMPRESSION_NAMES)
def test_records_are_read_back_from_every_codec(compression: str) -> None:
    codec = GroupRecordCodec(compression)
    records = [offset(partition) for partition in range(20)]
    (batch,) = codec.encode(records, 1, 100_000)
    assert COMPRESSION_NAMES[read_header(batch).compression] == compression
    assert list(codec.decode([batch], 0)) == list(enumerate(records))


def test_a_transaction_too_large_for_one_batch_is_several_of_the_same_producer() -> None:
    codec = GroupRecordCodec()
    records = [offset(partition) for partition in range(6)]
    built = list(codec.encode_in_transaction(records, PRODUCER, 1, 300))
    assert len(built) > 1
    found = [entry for batch in built for _, entry in codec.decode([batch], 0)]
    assert found == [InTransaction(record=record, producer=PRODUCER) for record in records]


@pytest.mark.parametrize("commit", [True, False])
def test_a_marker_is_read_back(commit: bool) -> None:
    marker = TransactionMarker(producer_id=9, producer_epoch=3, coordinator_epoch=77, commit=commit)
    written = build_marker(producer_id=9, producer_epoch=3, coordinator_epoch=77, commit=commit, timestamp_ms=1)
    assert list(GroupRecordCodec().decode([written], 0)) == [(0, marker)]


@pytest.mark.parametrize("key", [b"", b"\x00\x00\x00\x05", None])
def test_a_control_record_of_another_kind_is_skipped(key: bytes | None) -> None:
    stranger = build_batch(
        [Record(timestamp=1, key=key, value=bytes(6))],
        producer_id=9,
        producer_epoch=3,
        is_transactional=True,
        is_control=True,
    )
    assert list(GroupRecordCodec().decode([stranger], 0)) == [(0, None)]
