"""Transaction markers, byte by byte."""

from __future__ import annotations

import struct

import pytest

from broker.protocol.batch import crc_is_valid, read_header
from broker.protocol.markers import MARKER_SIZE, EndTransactionMarker, build_marker, read_marker
from broker.protocol.records import Record, build_batch, iter_records


def marker(*, commit: bool = True, coordinator_epoch: int = 7) -> bytearray:
    return build_marker(
        producer_id=9, producer_epoch=3, coordinator_epoch=coordinator_epoch, commit=commit, timestamp_ms=1_234
    )


@pytest.mark.parametrize(("commit", "kind"), [(False, 0), (True, 1)])
def test_a_marker_is_a_control_batch_of_one_record_as_kafka_writes_it(commit: bool, kind: int) -> None:
    built = marker(commit=commit)

    header = read_header(built)
    assert (header.is_transactional, header.is_control, header.record_count, header.base_sequence) == (
        True,
        True,
        1,
        -1,
    )
    assert (header.producer_id, header.producer_epoch, header.max_timestamp) == (9, 3, 1_234)
    assert header.size == len(built) == MARKER_SIZE
    assert crc_is_valid(built, 0, len(built))
    (record,) = iter_records(built)
    assert record.key == struct.pack(">hh", 0, kind)
    assert record.value == struct.pack(">hi", 0, 7)


def test_the_bytes_are_those_of_the_generic_encoder() -> None:
    record = Record(timestamp=1_234, key=struct.pack(">hh", 0, 1), value=struct.pack(">hi", 0, 7))
    generic = build_batch([record], producer_id=9, producer_epoch=3, is_transactional=True, is_control=True)

    assert marker() == generic


@pytest.mark.parametrize("coordinator_epoch", [0, 1, -1, 2**31 - 1])
def test_it_reads_back_wherever_it_lies(coordinator_epoch: int) -> None:
    data = bytes(build_batch([Record(timestamp=1, value=b"before")]))
    data_and_marker = data + marker(commit=False, coordinator_epoch=coordinator_epoch)

    assert read_marker(data_and_marker, len(data)) == EndTransactionMarker(False, coordinator_epoch)


def test_newer_versions_only_append_fields() -> None:
    record = Record(timestamp=1, key=struct.pack(">hhi", 1, 0, 5), value=struct.pack(">hiq", 1, 12, 99))
    newer = build_batch([record], producer_id=9, producer_epoch=3, is_transactional=True, is_control=True)

    assert read_marker(newer) == EndTransactionMarker(False, 12)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (struct.pack(">hh", 0, 2), struct.pack(">hi", 0, 1)),
        (struct.pack(">hh", 0, -1), struct.pack(">hi", 0, 1)),
        (b"\0", struct.pack(">hi", 0, 1)),
        (struct.pack(">hh", 0, 1), b"\0\0"),
        (struct.pack(">hh", 0, 1), None),
        (None, None),
    ],
)
def test_other_control_records_end_no_transaction(key: bytes | None, value: bytes | None) -> None:
    record = Record(timestamp=1, key=key, value=value)

    assert read_marker(build_batch([record], producer_id=9, producer_epoch=3, is_control=True)) is None


def test_an_emptied_control_batch_ends_no_transaction() -> None:
    emptied = bytearray(marker()[:61])
    struct.pack_into(">i", emptied, 8, 49)
    struct.pack_into(">i", emptied, 57, 0)

    assert read_marker(emptied) is None
