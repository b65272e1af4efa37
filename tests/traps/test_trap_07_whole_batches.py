"""Trap 7: a fetch gets whole batches, from the one its offset lies in; skipping that one would hang the reader, cutting it
would break it. Somebody always gets something, and nobody gets everything."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.batch import scan_batches
from tests.support.topics import batch, create_topic, fetch, produce
from tests.support.wire import Wire

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture
def topic(wire: Wire) -> str:
    """Offsets 0–9, 10–19, 20–29."""
    name = create_topic(wire, partitions=3)
    for index in range(3):
        for _ in range(3):
            produce(wire, name, batch(*[b"v" * 100] * 10), partition=index)
    return name


def base_offsets(records: bytes | None) -> list[int]:
    return [header.base_offset for _, header in scan_batches(records or b"")]


def fetch_all(wire: Wire, topic: str, *, max_bytes: int, offsets: tuple[int, ...] = (0, 0, 0), each: int = 1 << 20):
    r = m.FetchRequest
    entries = [
        r.FetchPartition(partition=index, fetch_offset=offset, partition_max_bytes=each)
        for index, offset in enumerate(offsets)
    ]
    request = r(max_wait=0, min_bytes=1, max_bytes=max_bytes, topics=[r.FetchTopic(topic=topic, partitions=entries)])
    answer = wire.call(ApiKey.FETCH, 11, request)
    return [base_offsets(part.records) for part in answer.responses[0].partitions]


@pytest.mark.parametrize("codec", CODECS)
def test_an_offset_in_the_middle_gets_the_batch_it_lies_in(wire: Wire, codec: str) -> None:
    topic = create_topic(wire)
    for _ in range(2):
        produce(wire, topic, batch(*[b"v" * 50] * 10, compression=codec))
    for offset, first in ((0, 0), (1, 0), (9, 0), (10, 10), (19, 10)):
        assert base_offsets(fetch(wire, topic, offset).records)[0] == first


def test_the_first_batch_of_an_answer_is_whole_whatever_the_limits(wire: Wire, topic: str) -> None:
    assert fetch_all(wire, topic, max_bytes=1) == [[0], [], []]
    assert fetch_all(wire, topic, max_bytes=1 << 20, each=1) == [[0], [], []]
    assert fetch_all(wire, topic, max_bytes=1, offsets=(30, 15, 0)) == [[], [10], []], "the first that has one"


def test_others_are_cut_at_batches_not_inside(wire: Wire, topic: str) -> None:
    size = len(fetch(wire, topic, 20).records)
    assert fetch_all(wire, topic, max_bytes=1 << 20, each=2 * size) == [[0, 10]] * 3
    assert fetch_all(wire, topic, max_bytes=4 * size + 10) == [[0, 10, 20], [0], []]


@pytest.mark.parametrize(("offset", "code"), [(-1, 1), (30, 0), (31, ErrorCode.OFFSET_OUT_OF_RANGE)])
def test_the_end_is_empty_and_outside_is_out_of_range(wire: Wire, topic: str, offset: int, code: int) -> None:
    result = fetch(wire, topic, offset)
    assert (result.error_code, result.records or b"") == (code, b"")
