"""Building and opening batches."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ErrorCode, KafkaError
from broker.protocol import batch
from broker.protocol.records import Record, build_batch, iter_records
from tests.protocol.kafka_python import MemoryRecords
from tests.protocol.outcome import error_code

CODECS = batch.COMPRESSION_NAMES
texts = st.text(max_size=5)
payloads = st.none() | st.binary(max_size=20)
record_lists = st.lists(
    st.builds(
        Record,
        offset=st.just(-1),
        timestamp=st.integers(0, 2**42),
        key=payloads,
        value=payloads,
        headers=st.lists(st.tuples(texts, payloads), max_size=3),
    ),
    min_size=1,
    max_size=5,
)


def contents(records: object) -> list[tuple[object, ...]]:
    return [(r.timestamp, r.key, r.value, list(r.headers)) for r in records]  # type: ignore[attr-defined]


@given(record_lists, st.sampled_from(CODECS), st.integers(0, 2**60))
def test_what_is_built_is_read_back(records: list[Record], compression: str, base_offset: int) -> None:
    built = build_batch(records, compression=compression, base_offset=base_offset)
    opened = list(iter_records(built))
    assert contents(opened) == contents(records)
    assert [record.offset for record in opened] == list(range(base_offset, base_offset + len(records)))


@pytest.mark.parametrize("compression", ["none", "gzip"])  # those it can do without further libraries
def test_kafka_python_reads_our_batches(compression: str) -> None:
    records = [
        Record(timestamp=5 + i, key=b"k", value=b"v" * 200, headers=[("h", b"1"), ("n", None)]) for i in range(50)
    ]
    theirs = MemoryRecords(bytes(build_batch(records, compression=compression, base_offset=7)))
    batches = []
    while theirs.has_next():
        batches.append(theirs.next_batch())
    assert batches[0].validate_crc()
    read = [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in batches[0]]
    assert read[0] == (7, 5, b"k", b"v" * 200, [("h", b"1"), ("n", None)])
    assert len(read) == 50


def test_compression_is_noted_and_used() -> None:
    records = [Record(timestamp=1, value=b"x" * 1000)]
    for codec, name in enumerate(CODECS):
        built = build_batch(records, compression=name)
        assert batch.read_header(built).compression == codec
        assert len(built) < 300 or name == "none"


def test_several_batches_back_to_back() -> None:
    buffer = build_batch([Record(value=b"a")]) + build_batch([Record(value=b"b")], base_offset=1, compression="gzip")
    assert [(r.offset, r.value) for r in iter_records(memoryview(buffer))] == [(0, b"a"), (1, b"b")]


def test_log_append_time_is_the_time_of_every_record() -> None:
    records = [Record(timestamp=1, value=b"a"), Record(timestamp=2, value=b"b" * 500)]
    for compression in CODECS:
        built = build_batch(records, log_append_time_ms=99, compression=compression)
        assert [record.timestamp for record in iter_records(built)] == [99, 99]


def test_identity_of_an_idempotent_producer_and_a_transaction() -> None:
    built = build_batch(
        [Record(value=b"a")],
        producer_id=9,
        producer_epoch=3,
        base_sequence=17,
        leader_epoch=6,
        is_transactional=True,
    )
    header = batch.read_header(built)
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.leader_epoch) == (9, 3, 17, 6)
    assert header.is_transactional


def test_control_batches() -> None:
    built = build_batch([Record(key=b"\x00\x00\x00\x01", value=b"\x00\x00\x00\x00\x00\x00")], is_control=True)
    assert batch.read_header(built).is_control
    assert next(iter_records(built)).key == b"\x00\x00\x00\x01"


def test_offsets_with_gaps_are_kept() -> None:
    built = build_batch([Record(offset=10), Record(offset=15), Record()], base_offset=10)
    header = batch.read_header(built)
    assert [record.offset for record in iter_records(built)] == [10, 15, 16]
    assert (header.last_offset_delta, header.record_count) == (6, 3)


@pytest.mark.parametrize("records", [[], [Record(offset=5), Record(offset=5)], [Record(offset=-1), Record(offset=0)]])
def test_impossible_batches_are_not_built(records: list[Record]) -> None:
    with pytest.raises(ValueError):
        build_batch(records)
    with pytest.raises(ValueError):
        build_batch([Record()], compression="brotli")


def test_a_wrong_checksum_is_corrupt_unless_not_asked_for() -> None:
    built = build_batch([Record(value=b"abc")])
    built[-2] ^= 1
    with pytest.raises(KafkaError) as caught:
        list(iter_records(built))
    assert caught.value.code == ErrorCode.CORRUPT_MESSAGE
    assert len(list(iter_records(built, verify_crc=False))) == 1


@pytest.mark.parametrize("compression", CODECS[1:])
def test_a_batch_that_inflates_beyond_the_bound_is_too_large(compression: str) -> None:
    built = build_batch([Record(value=bytes(100_000))], compression=compression)
    with pytest.raises(KafkaError) as caught:
        list(iter_records(built, decompressed_bytes_max=99_999))
    assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize("count", [-1, 0, 2, 2**31 - 1])
def test_a_record_count_that_does_not_fit_is_corrupt(count: int) -> None:
    built = build_batch([Record(value=b"abc")])
    struct.pack_into(">i", built, batch.RECORD_COUNT_AT, count)
    with pytest.raises(KafkaError) as caught:
        list(iter_records(built, verify_crc=False))
    assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


def test_an_unknown_codec_is_corrupt() -> None:
    built = build_batch([Record(value=b"abc")])
    built[batch.ATTRIBUTES_AT + 1] = 6
    with pytest.raises(KafkaError, match="Unknown compression codec 6"):
        list(iter_records(built, verify_crc=False))


@settings(max_examples=300)
@given(st.data())
def test_damaged_records_raise_nothing_but_kafka_errors(data: st.DataObject) -> None:
    built = build_batch(data.draw(record_lists), compression=data.draw(st.sampled_from(CODECS)))
    for _ in range(data.draw(st.integers(1, 4))):
        built[data.draw(st.integers(batch.ATTRIBUTES_AT, len(built) - 1))] = data.draw(st.integers(0, 255))
    code = error_code(lambda: list(iter_records(built, verify_crc=False, decompressed_bytes_max=1 << 20)))
    assert code in (ErrorCode.NONE, ErrorCode.CORRUPT_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE)
