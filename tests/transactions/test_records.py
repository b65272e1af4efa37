"""The records of ``__transaction_state``: Kafka's bytes, whatever a log may contain, and batches of them."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.coordination.primitives import MalformedRecord
from broker.protocol import records as batches
from broker.protocol.batch import stamp
from broker.transactions.batches import TransactionRecordCodec
from broker.transactions.metadata import Transaction
from broker.transactions.records import TransactionRecord, decode_record, encode_record, encode_value
from broker.transactions.states import TransactionState
from broker.types import TopicPartition

KEY = bytes.fromhex("00000006") + b"copier"
ONGOING = Transaction(
    producer_id=1_000,
    producer_epoch=3,
    timeout_ms=60_000,
    state=TransactionState.ONGOING,
    partitions=frozenset({TopicPartition("clicks", 1), TopicPartition("clicks", 0), TopicPartition("a", 2)}),
    start_ms=1_700_000_000_000,
    update_ms=1_700_000_000_001,
    client_version=2,
)
ONGOING_BYTES = bytes.fromhex(
    "0001"  # version
    "00000000000003e8"  # producer id
    "0003"  # epoch
    "0000ea60"  # timeout
    "01"  # Ongoing
    "03"  # two topics
    "0261" "02" "00000002" "00"
    "07636c69636b73" "03" "00000000" "00000001" "00"
    "0000018bcfe56801"  # last update
    "0000018bcfe56800"  # start
    "01" "02" "02" "0002"  # one tag: the client's version
)  # fmt: skip
VERSION_0_BYTES = bytes.fromhex(
    "0000"
    "00000000000003e8" "0003" "0000ea60" "04"
    "00000001" "0006" "636c69636b73" "00000001" "00000005"
    "0000018bcfe56801" "0000018bcfe56800"
)  # fmt: skip
EMPTY_VERSION_0_BYTES = bytes.fromhex("000000000000000003e800000000ea6000ffffffff0000018bcfe56801ffffffffffffffff")


def test_what_is_written_is_kafkas_flexible_version() -> None:
    assert encode_record(TransactionRecord(transactional_id="copier", value=ONGOING)) == (KEY, ONGOING_BYTES)


def test_the_tags_of_version_2_name_the_ids_before_and_after() -> None:
    transaction = Transaction(
        producer_id=1,
        producer_epoch=0,
        timeout_ms=1,
        update_ms=1,
        previous_producer_id=8,
        next_producer_id=9,
    )
    assert encode_value(transaction).endswith(bytes.fromhex("020008000000000000000801080000000000000009"))


def test_an_empty_transaction_has_null_for_partitions_and_a_complete_one_an_empty_list() -> None:
    at = len(bytes.fromhex("000100000000000003e800030000ea6001"))
    empty = Transaction(producer_id=1_000, producer_epoch=3, timeout_ms=60_000, update_ms=1)
    assert encode_value(empty)[at] == 0
    complete = Transaction(
        producer_id=1_000, producer_epoch=3, timeout_ms=60_000, update_ms=1, state=TransactionState.COMPLETE_COMMIT
    )
    assert encode_value(complete)[at] == 1


def test_version_0_of_older_brokers_is_read() -> None:
    record = decode_record(KEY, VERSION_0_BYTES)
    assert record is not None
    assert record.value == Transaction(
        producer_id=1_000,
        producer_epoch=3,
        timeout_ms=60_000,
        state=TransactionState.COMPLETE_COMMIT,
        partitions=frozenset({TopicPartition("clicks", 5)}),
        start_ms=1_700_000_000_000,
        update_ms=1_700_000_000_001,
    )
    empty = decode_record(KEY, EMPTY_VERSION_0_BYTES)
    assert empty is not None
    assert empty.value is not None
    assert (empty.value.state, empty.value.partitions, empty.value.start_ms) == (
        TransactionState.EMPTY,
        frozenset(),
        -1,
    )


def test_a_tombstone_has_no_value() -> None:
    assert encode_record(TransactionRecord(transactional_id="copier", value=None)) == (KEY, None)
    assert decode_record(KEY, None) == TransactionRecord(transactional_id="copier", value=None)


def test_a_key_of_a_later_version_is_passed_over() -> None:
    assert decode_record(b"\x00\x09anything", b"") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, ONGOING_BYTES),
        (KEY[:5], ONGOING_BYTES),
        (KEY, b""),
        (KEY, b"\x00\x02" + ONGOING_BYTES[2:]),
        (KEY, ONGOING_BYTES[:16] + b"\x09" + ONGOING_BYTES[17:]),
        (KEY, VERSION_0_BYTES[:17] + b"\x7f\xff\xff\xff"),
        (KEY, ONGOING_BYTES[:-1]),
    ],
    ids=["no key", "cut key", "empty value", "version", "state", "count", "cut value"],
)
def test_damage_is_named_and_never_read_past(key: bytes | None, value: bytes) -> None:
    with pytest.raises(MalformedRecord):
        decode_record(key, value)


@given(st.binary(max_size=60))
def test_noise_is_damage_or_a_record_and_nothing_else(noise: bytes) -> None:
    for version in (b"\x00\x00", b"\x00\x01"):
        try:
            decode_record(KEY, version + noise)
        except MalformedRecord:
            continue


TRANSACTIONS = st.builds(
    Transaction,
    producer_id=st.integers(0, 2**63 - 1),
    producer_epoch=st.integers(0, 2**15 - 1),
    timeout_ms=st.integers(1, 2**31 - 1),
    state=st.sampled_from([state for state in TransactionState if state is not TransactionState.EMPTY]),
    partitions=st.frozensets(st.builds(TopicPartition, st.text(max_size=9), st.integers(0, 2**31 - 1)), max_size=5),
    start_ms=st.integers(-1, 2**62),
    update_ms=st.integers(0, 2**62),
    previous_producer_id=st.integers(-1, 2**63 - 1),
    next_producer_id=st.integers(-1, 2**63 - 1),
    client_version=st.sampled_from([0, 2]),
)


@given(st.text(max_size=20), TRANSACTIONS)
def test_what_was_written_is_read(transactional_id: str, transaction: Transaction) -> None:
    record = TransactionRecord(transactional_id=transactional_id, value=transaction)
    assert decode_record(*encode_record(record)) == record


def test_records_are_cut_into_batches_the_partition_takes() -> None:
    records = [TransactionRecord(transactional_id=f"{number}", value=ONGOING) for number in range(20)]
    codec = TransactionRecordCodec()
    built = list(codec.encode(records, 1, 500))
    assert len(built) > 3
    assert max(len(one) for one in built) < 600
    read = []
    for one in built:
        stamp(memoryview(one), 0, len(read), 0)
        decoded = list(codec.decode([bytes(one)], len(read)))
        assert [offset for offset, _ in decoded] == list(range(len(read), len(read) + len(decoded)))
        read += [record for _, record in decoded]
    assert read == records


def test_a_stranger_in_the_log_is_reported_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    key, value = encode_record(TransactionRecord(transactional_id="copier", value=ONGOING))
    batch = batches.build_batch(
        [
            batches.Record(timestamp=1, key=key, value=b"\x00\x05?"),
            batches.Record(timestamp=1, key=b"\x00\x09", value=None),
            batches.Record(timestamp=1, key=key, value=value),
        ]
    )
    with caplog.at_level(logging.ERROR):
        read = list(TransactionRecordCodec().decode([bytes(batch)], 0))
    assert read == [(0, None), (1, None), (2, TransactionRecord(transactional_id="copier", value=ONGOING))]
    assert "offset 0 is not a transaction" in caplog.text
