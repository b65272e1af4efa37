"""Trap 14: each batch is measured as it came, against its own topic; one that is too large, or has a record without a key where a
key is needed, fails its partition and no other. What is wrong with which record is told from version 8 on."""

from __future__ import annotations

import struct

import pytest

from broker.errors import ErrorCode
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch
from tests.support.topics import NOW_MS, batch, create_topic, fetch, produce, produce_request
from tests.support.wire import Wire


def test_a_batch_is_measured_compressed_with_all_of_its_bytes(wire: Wire) -> None:
    records = batch(b"a" * 5_000, compression="gzip")
    exact = create_topic(wire, max_message_bytes=str(len(records)))
    less = create_topic(wire, max_message_bytes=str(len(records) - 1))
    assert produce(wire, exact, records).error_code == 0
    assert produce(wire, less, records).error_code == ErrorCode.MESSAGE_TOO_LARGE


def test_a_partition_that_is_refused_does_not_spoil_the_others(wire: Wire) -> None:
    small, other = create_topic(wire, max_message_bytes="200"), create_topic(wire, partitions=2)
    large = batch(b"x" * 500)
    answer = wire.call(ApiKey.PRODUCE, 9, produce_request({(other, 0): large, (small, 0): large, (other, 1): large}))
    codes = [topic.partition_responses[0].error_code for topic in answer.responses]
    assert codes == [0, ErrorCode.MESSAGE_TOO_LARGE, 0]
    assert fetch(wire, small).high_watermark == 0


@pytest.mark.parametrize("version", [3, 7, 8, 12])
def test_a_record_without_a_key_is_named_where_the_topic_is_compacted(wire: Wire, version: int) -> None:
    topic = create_topic(wire, cleanup_policy="compact")
    content = [Record(timestamp=NOW_MS, key=key, value=b"v") for key in (b"k", None, b"k", None)]
    result = produce(wire, topic, bytes(build_batch(content)), version=version)
    named = [1, 3] if version >= 8 else []
    assert (result.error_code, [error.batch_index for error in result.record_errors]) == (
        ErrorCode.INVALID_RECORD,
        named,
    )
    assert produce(wire, topic, batch(b"v", key=b"k"), version=version).error_code == 0


def test_a_request_longer_than_the_broker_takes_ends_the_connection(wire: Wire) -> None:
    wire.send(struct.pack(">i", 101 << 20))
    assert wire.closed_by_broker()


def test_two_batches_for_one_partition_are_refused(wire: Wire) -> None:
    topic = create_topic(wire)
    assert produce(wire, topic, batch(b"a") + batch(b"b")).error_code == ErrorCode.INVALID_RECORD
