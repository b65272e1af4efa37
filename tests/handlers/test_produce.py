"""Produce against a running broker: what is stored, what is refused, and that partitions do not harm each other."""

from __future__ import annotations

import struct

import pytest

from broker.errors import ErrorCode
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from broker.types import OFFSETS_TOPIC
from tests.support.broker_process import BrokerProcess
from tests.support.topics import (
    NOW_MS,
    batch,
    create_topic,
    delete_topic,
    fetch,
    produce,
    produce_request,
    topic_id_of,
)
from tests.support.wait import wait_until
from tests.support.wire import Wire, request_frame


def values(wire: Wire, topic: str, *, partition: int = 0) -> list[bytes | None]:
    result = fetch(wire, topic, partition=partition)
    return [record.value for record in iter_records(result.records or b"")]


@pytest.mark.parametrize("version", range(3, 14))
@pytest.mark.parametrize("acks", [1, -1])
def test_every_version_appends_and_answers_the_offset(wire, version, acks) -> None:
    topic = create_topic(wire)
    name = topic_id_of(wire, topic) if version >= 13 else topic
    first = produce(wire, name, batch(b"a", b"b"), version=version, acks=acks)
    second = produce(wire, name, batch(b"c"), version=version, acks=acks)
    assert [(r.error_code, r.base_offset, r.log_append_time) for r in (first, second)] == [(0, 0, -1), (0, 2, -1)]
    assert values(wire, topic) == [b"a", b"b", b"c"]


def test_acks_0_has_no_answer(wire) -> None:
    topic = create_topic(wire)
    wire.request(ApiKey.PRODUCE, 9, produce_request({(topic, 0): batch(b"silent")}, acks=0))
    assert produce(wire, topic, batch(b"loud")).base_offset == 1
    assert values(wire, topic) == [b"silent", b"loud"]


def test_an_acks_0_error_closes_the_connection(wire) -> None:
    wire.request(ApiKey.PRODUCE, 9, produce_request({("no-such-topic-0", 0): batch(b"x")}, acks=0))
    assert wire.closed_by_broker()


@pytest.mark.parametrize("acks", [2, -2, 32_767])
def test_other_acks_are_invalid(wire, acks) -> None:
    topic = create_topic(wire)
    assert produce(wire, topic, batch(b"x"), acks=acks).error_code == ErrorCode.INVALID_REQUIRED_ACKS
    assert values(wire, topic) == []


def test_partitions_succeed_and_fail_on_their_own(wire) -> None:
    topic = create_topic(wire, partitions=2)
    broken = bytearray(batch(b"broken"))
    broken[-1] ^= 1
    parts = {
        (topic, 0): batch(b"good"),
        (topic, 1): bytes(broken),
        (topic, 2): batch(b"no such partition"),
        ("no-such-topic-1", 0): batch(b"x"),
    }
    answer = wire.call(ApiKey.PRODUCE, 9, produce_request(parts))
    codes = [partition.error_code for topic in answer.responses for partition in topic.partition_responses]
    assert codes == [
        0,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert values(wire, topic) == [b"good"]


def test_an_unknown_topic_id_is_named_as_such(wire) -> None:
    result = produce(wire, b"\x07" * 16, batch(b"x"), version=13)
    assert result.error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_an_old_topic_id_does_not_reach_the_new_topic_of_that_name(wire) -> None:
    topic = create_topic(wire)
    old = topic_id_of(wire, topic)
    delete_topic(wire, topic)
    assert produce(wire, old, batch(b"x"), version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_missing_records_are_invalid(wire) -> None:
    assert produce(wire, create_topic(wire), None).error_code == ErrorCode.INVALID_RECORD


def test_a_batch_above_max_message_bytes_is_too_large(wire) -> None:
    topic = create_topic(wire, max_message_bytes="1000")
    assert produce(wire, topic, batch(b"x" * 2_000)).error_code == ErrorCode.MESSAGE_TOO_LARGE
    assert produce(wire, topic, batch(b"x" * 500)).error_code == 0


def test_log_append_time_is_set_and_answered(wire) -> None:
    topic = create_topic(wire, message_timestamp_type="LogAppendTime")
    result = produce(wire, topic, batch(b"x", timestamp=5))
    assert result.log_append_time > NOW_MS
    (record,) = iter_records(fetch(wire, topic).records)
    assert record.timestamp == result.log_append_time


def test_timestamps_out_of_range_are_refused_by_record(wire) -> None:
    topic = create_topic(wire)
    far = 4_000_000_000_000
    result = produce(wire, topic, batch(b"x", b"y", timestamp=far))
    assert result.error_code == ErrorCode.INVALID_TIMESTAMP
    assert [error.batch_index for error in result.record_errors] == [0, 1]
    assert str(far + 1) in result.record_errors[1].batch_index_error_message
    assert values(wire, topic) == []


@pytest.mark.parametrize("compression", ["none", "lz4"])
def test_a_compacted_topic_needs_keys(wire, compression) -> None:
    topic = create_topic(wire, cleanup_policy="compact")
    result = produce(wire, topic, batch(b"a" * 100, b"b" * 100, compression=compression))
    assert result.error_code == ErrorCode.INVALID_RECORD
    assert [error.batch_index for error in result.record_errors] == [0, 1]
    assert produce(wire, topic, batch(b"a", key=b"k", compression=compression)).error_code == 0


def test_clients_do_not_write_internal_topics(wire, broker_process) -> None:
    from broker.protocol import messages as m

    request = m.FindCoordinatorRequest(key="g", key_type=0)
    wait_until(lambda: wire.call(ApiKey.FIND_COORDINATOR, 1, request).error_code == 0, "the offsets topic exists")
    assert produce(wire, OFFSETS_TOPIC, batch(b"x")).error_code == ErrorCode.INVALID_TOPIC_EXCEPTION


def test_one_replica_is_all_that_acks_all_can_mean_for_a_topic_of_one(wire) -> None:
    topic = create_topic(wire, min_insync_replicas="2")
    assert produce(wire, topic, batch(b"x"), acks=-1).error_code == 0
    assert values(wire, topic) == [b"x"]


def test_a_duplicate_of_an_idempotent_producer_is_answered_with_its_first_offset(wire) -> None:
    topic = create_topic(wire)
    fields = {"producer_id": 4_711, "producer_epoch": 0}
    first = produce(wire, topic, batch(b"a", base_sequence=0, **fields))
    produce(wire, topic, batch(b"b", base_sequence=1, **fields))
    again = produce(wire, topic, batch(b"a", base_sequence=0, **fields))
    gap = produce(wire, topic, batch(b"z", base_sequence=9, **fields))
    assert (first.base_offset, again.error_code, again.base_offset) == (0, 0, 0)
    assert gap.error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert values(wire, topic) == [b"a", b"b"]


def test_pipelined_requests_are_appended_and_answered_in_order(wire) -> None:
    topics = [create_topic(wire) for _ in range(3)]
    frames = b"".join(
        request_frame(
            ApiKey.PRODUCE,
            9,
            produce_request({(topics[number % 3], 0): batch(b"%d" % number)}, acks=-1 if number % 2 else 1),
            correlation_id=number,
        )
        for number in range(300)
    )
    wire.send(frames)
    assert [wire.answer(ApiKey.PRODUCE, 9)[0] for _ in range(300)] == list(range(300))
    for rest, topic in enumerate(topics):
        assert values(wire, topic) == [b"%d" % number for number in range(rest, 300, 3)]


def test_below_the_disk_floor_produce_is_refused_with_the_reason_and_fetch_goes_on(tmp_path) -> None:
    with BrokerProcess(tmp_path) as broker:
        with Wire(broker.port) as wire:
            topic = create_topic(wire)
            assert produce(wire, topic, batch(b"kept")).error_code == 0
        broker.stop()
        broker._environment["OTTLA_DISK_FREE_FLOOR_BYTES"] = str(2**60)
        broker.start()
        with Wire(broker.port) as wire:
            refused = produce(wire, topic, batch(b"refused"))
            assert refused.error_code == ErrorCode.KAFKA_STORAGE_ERROR
            assert "disk.free.floor.bytes" in refused.error_message
            assert values(wire, topic) == [b"kept"]


def test_an_empty_request_is_answered_empty(wire) -> None:
    assert wire.call(ApiKey.PRODUCE, 9, produce_request({})).responses == []


def test_a_huge_claimed_batch_length_is_corrupt_and_harmless(wire) -> None:
    topic = create_topic(wire)
    records = bytearray(batch(b"x"))
    struct.pack_into(">i", records, 8, 2**31 - 1)
    assert produce(wire, topic, bytes(records)).error_code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("magic", [0, 1])
def test_old_message_formats_are_refused(wire, magic) -> None:
    records = bytearray(batch(b"x"))
    records[16] = magic
    result = produce(wire, create_topic(wire), bytes(records))
    assert result.error_code == ErrorCode.INVALID_RECORD
    assert "magic version 2" in result.error_message


def test_zstd_is_for_clients_that_say_they_know_it(wire) -> None:
    topic, records = create_topic(wire), batch(b"x" * 1_000, compression="zstd")
    assert produce(wire, topic, records, version=6).error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert produce(wire, topic, records, version=7).error_code == 0
    configured = create_topic(wire, compression_type="zstd")
    assert fetch(wire, configured, version=9).error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert fetch(wire, configured, version=10).error_code == 0
