"""Records as text and JSON: Kafka's formats, and that every record survives the journey."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.commandline.lines import LINE_BYTES_MAX, LineSplitter
from broker.commandline.producing import BATCH_BYTES_MAX, BATCH_RECORDS_MAX, batches
from broker.commandline.record_text import (
    ConsumedRecord,
    LineFormat,
    RecordFormat,
    RecordLine,
    format_line,
    parse_json,
    parse_line,
    to_json,
)

RECORD = ConsumedRecord(
    topic="orders",
    partition=3,
    offset=42,
    timestamp_ms=1_000,
    timestamp_type="CreateTime",
    key=b"k",
    value=b"\xffv",
    headers=(("a", b"1"), ("b", None)),
)


@pytest.mark.parametrize(
    ("line", "form", "record"),
    [
        (b"hello", LineFormat(), RecordLine(value=b"hello")),
        (b"", LineFormat(), RecordLine(value=b"")),
        (b"k:v:w", LineFormat(key_separator=":"), RecordLine(key=b"k", value=b"v:w")),
        (b"v", LineFormat(key_separator=":", key_required=False), RecordLine(value=b"v")),
        (b"k::NULL", LineFormat(key_separator="::", null_marker="NULL"), RecordLine(key=b"k", value=None)),
        (
            b"a:1,b:x:y\tk=v",
            LineFormat(with_headers=True, key_separator="="),
            RecordLine(key=b"k", value=b"v", headers=(("a", b"1"), ("b", b"x:y"))),
        ),
        (b"\tv", LineFormat(with_headers=True), RecordLine(value=b"v")),
    ],
)
def test_a_line_holds_a_record(line: bytes, form: LineFormat, record: RecordLine) -> None:
    assert parse_line(line, form) == record


@pytest.mark.parametrize(
    ("line", "form"),
    [
        (b"value", LineFormat(key_separator=":")),
        (b"a:1", LineFormat(with_headers=True)),
        (b"a\tv", LineFormat(with_headers=True)),
    ],
)
def test_a_line_that_holds_none_is_refused(line: bytes, form: LineFormat) -> None:
    with pytest.raises(ValueError):
        parse_line(line, form)


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"headers": [1]}',
        b'{"headers": [{"value": "v"}]}',
        b'{"value_base64": "?"}',
        b'{"value_base64": 7}',
        b'{"partition": "0"}',
        b'{"partition": -1}',
        b'{"timestamp_ms": true}',
    ],
)
def test_json_that_holds_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(line)


def test_a_document_may_stand_in_json_as_it_is() -> None:
    assert parse_json(b'{"value": {"a": [1, "\xc3\xa9"]}}').value == '{"a": [1, "é"]}'.encode()


def test_what_is_printed_comes_in_this_order() -> None:
    assert format_line(RECORD, RecordFormat()) == b"\xffv\n"
    everything = RecordFormat(timestamp=True, partition=True, offset=True, headers=True, key=True, separator="|")
    assert format_line(RECORD, everything) == (
        b"CreateTime:1000 (1970-01-01 00:00:01.000 UTC)|Partition:3|Offset:42|a:1,b:null|k|\xffv\n"
    )


optional_bytes = st.none() | st.binary(max_size=20)


@given(
    st.builds(
        ConsumedRecord,
        topic=st.just("t"),
        partition=st.integers(0, 9),
        offset=st.integers(0, 2**40),
        timestamp_ms=st.integers(0, 2**50),
        timestamp_type=st.just("CreateTime"),
        key=optional_bytes,
        value=optional_bytes,
        headers=st.lists(st.tuples(st.text(max_size=5), optional_bytes), max_size=3).map(tuple),
    )
)
def test_every_record_survives_json(record: ConsumedRecord) -> None:
    line = json.dumps(to_json(record)).encode()
    assert parse_json(line) == RecordLine(
        key=record.key,
        value=record.value,
        headers=record.headers,
        partition=record.partition,
        timestamp_ms=record.timestamp_ms,
    )


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=6))
def test_chunks_cut_anywhere_give_the_same_lines(data: bytes, cuts: list[int]) -> None:
    data = data.replace(b"\r", b"")
    splitter = LineSplitter()
    places = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
    lines = [
        line for start, end in itertools.pairwise(places) for line in splitter.feed(data[start:end])
    ] + splitter.finish()
    expected = data.split(b"\n")
    assert lines == (expected[:-1] if expected[-1] == b"" else expected)


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    splitter = LineSplitter()
    splitter.feed(bytes(LINE_BYTES_MAX))
    with pytest.raises(ValueError, match="longer than"):
        splitter.feed(b"x")


def test_line_ends_of_other_systems_are_line_ends() -> None:
    assert LineSplitter().feed(b"a\r\nb\n") == [b"a", b"b"]


@given(st.lists(st.integers(0, BATCH_BYTES_MAX), max_size=12))
def test_batches_keep_order_and_stay_small(sizes: list[int]) -> None:
    records = [RecordLine(value=bytes(size)) for size in sizes]
    found = list(batches(records))
    assert [record for batch in found for record in batch] == records
    for batch in found:
        assert 1 <= len(batch) <= BATCH_RECORDS_MAX
        assert len(batch) == 1 or sum(len(record.value or b"") for record in batch) <= BATCH_BYTES_MAX
