from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ErrorCode, KafkaError
from broker.protocol import batch
from broker.protocol.raw_records import (
    emptied_batch,
    placeholder_batch,
    read_varint,
    rebased,
    rebuilt_batch,
    records_of,
    scan_records,
    write_varint,
)
from broker.protocol.records import Record, build_batch, iter_records

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
optional_bytes = st.one_of(st.none(), st.binary(max_size=300))
records = st.lists(
    st.builds(
        Record,
        offset=st.just(-1),
        timestamp=st.integers(0, 2**41),
        key=optional_bytes,
        value=optional_bytes,
        headers=st.lists(st.tuples(st.text(max_size=5), optional_bytes), max_size=2),
    ),
    min_size=1,
    max_size=8,
)


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_number_comes_back(number: int) -> None:
    written = write_varint(number)
    assert read_varint(written, 0) == (number, len(written))


@given(records, st.sampled_from(CODECS))
def test_slices_are_the_records_the_codec_sees(given_records: list[Record], codec: str) -> None:
    whole = build_batch(given_records, base_offset=100, compression=codec)
    header = batch.read_header(whole)
    data = records_of(header, whole)
    found = list(scan_records(data, header.record_count))
    assert [(100 + one.offset_delta, header.base_timestamp + one.timestamp_delta, one.key) for one in found] == [
        (record.offset, record.timestamp, record.key) for record in iter_records(whole)
    ]
    assert [one.has_value for one in found] == [record.value is not None for record in given_records]
    assert b"".join(data[one.start : one.end] for one in found) == data


@given(records, st.sampled_from(CODECS), st.data())
def test_a_rebuilt_batch_holds_what_was_kept_with_a_horizon_or_without(
    given_records: list[Record], codec: str, data: st.DataObject
) -> None:
    whole = build_batch(given_records, base_offset=7, compression=codec, producer_id=5, base_sequence=3)
    header = batch.read_header(whole)
    plain = records_of(header, whole)
    found = list(scan_records(plain, header.record_count))
    kept = data.draw(st.lists(st.sampled_from(found), min_size=1, unique=True).map(sorted))
    horizon = data.draw(st.one_of(st.none(), st.integers(0, 2**42)))
    shift = 0 if horizon is None else header.base_timestamp - horizon
    pieces = b"".join(rebased(plain, one, shift) for one in kept)
    built = rebuilt_batch(
        header, pieces, count=len(kept), max_timestamp=header.max_timestamp, delete_horizon_ms=horizon
    )
    again = batch.read_header(built)
    assert batch.crc_is_valid(built, 0, len(built))
    assert (again.base_offset, again.last_offset, again.last_sequence, again.compression) == (
        header.base_offset,
        header.last_offset,
        header.last_sequence,
        header.compression,
    )
    assert bool(again.attributes & batch.DELETE_HORIZON) == (horizon is not None)
    before = {record.offset: record for record in iter_records(whole)}
    assert list(iter_records(built)) == [before[7 + one.offset_delta] for one in kept]


def test_batches_without_records_keep_their_offsets() -> None:
    whole = build_batch([Record(timestamp=5, value=b"x")] * 3, base_offset=9, producer_id=5, base_sequence=3)
    header = batch.read_header(whole)
    emptied, placeholder = emptied_batch(header), placeholder_batch(header)
    for built in (emptied, placeholder):
        assert len(built) == batch.HEADER_SIZE
        assert batch.crc_is_valid(built, 0, len(built))
        assert list(iter_records(built)) == []
        assert batch.read_header(built).last_offset == 11
    assert (batch.read_header(emptied).producer_id, batch.read_header(emptied).last_sequence) == (5, 5)
    assert (batch.read_header(placeholder).producer_id, batch.read_header(placeholder).max_timestamp) == (-1, -1)


@given(st.binary(max_size=120), st.integers(0, 5))
def test_garbage_is_corrupt_and_nothing_else(data: bytes, count: int) -> None:
    found, code = None, None
    try:
        found = list(scan_records(data, count))
    except KafkaError as error:
        code = error.code
    if found is None:
        assert code is ErrorCode.CORRUPT_MESSAGE
    else:
        assert len(found) == count
        assert sum(one.end - one.start for one in found) == len(data)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_batch_that_is_cut_off_is_corrupt(cut: int) -> None:
    whole = build_batch([Record(timestamp=1, key=b"key", value=b"value")])
    data = records_of(batch.read_header(whole), whole)
    with pytest.raises(KafkaError):
        list(scan_records(data[:-cut], 1))
