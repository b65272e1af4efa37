"""Idempotent producers, and their snapshots."""

from __future__ import annotations

import struct

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import TRANSACTIONAL, BatchHeader
from broker.storage import producer_state
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.storage.producer_snapshot import ProducerSnapshots, decode_snapshot, encode_snapshot
from broker.storage.producer_state import ProducerState

SEQUENCE_MAX = 2**31 - 1


def header(first: int, count: int = 1, *, epoch: int = 0, producer: int = 1, attributes: int = 0) -> BatchHeader:
    return BatchHeader(0, 49, 0, 2, 0, attributes, count - 1, 77, 77, producer, epoch, first, count)


def write(state: ProducerState, batch: BatchHeader, base_offset: int, now_ms: int = 1_000) -> None:
    assert state.check(batch) is None
    state.update(batch, base_offset, now_ms)


def refusal(state: ProducerState, batch: BatchHeader) -> ErrorCode:
    with pytest.raises(KafkaError) as refused:
        state.check(batch)
    return refused.value.code


def test_an_unknown_producer_may_start_anywhere() -> None:
    state = ProducerState()

    write(state, header(1_000, 5), 0)
    write(state, header(1_005), 5)

    assert state.producers()[0].last_sequence == 1_005


def test_the_last_five_batches_are_duplicates_and_older_ones_are_out_of_order() -> None:
    state = ProducerState()
    for number in range(7):
        write(state, header(number * 10, 10), number * 10)

    for number in range(2, 7):
        found = state.check(header(number * 10, 10))
        assert found is not None
        assert (found.base_offset, found.last_offset) == (number * 10, number * 10 + 9)
    assert refusal(state, header(10, 10)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_a_duplicate_must_be_the_same_batch() -> None:
    state = ProducerState()
    write(state, header(0, 10), 0)

    assert refusal(state, header(0, 9)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refusal(state, header(1, 9)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refusal(state, header(11, 1)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_sequences_wrap_to_zero() -> None:
    state = ProducerState()
    write(state, header(SEQUENCE_MAX - 2, 3), 0)
    write(state, header(0, 2), 3)

    wrapping = ProducerState()
    write(wrapping, header(SEQUENCE_MAX, 3), 0)
    assert wrapping.producers()[0].last_sequence == 1
    write(wrapping, header(2), 3)
    found = wrapping.check(header(SEQUENCE_MAX, 3))
    assert found is not None
    assert found.base_offset == 0


def test_epochs_fence() -> None:
    state = ProducerState()
    write(state, header(0, 5, epoch=3), 0)

    assert refusal(state, header(5, epoch=2)) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert refusal(state, header(5, epoch=4)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    write(state, header(0, epoch=4), 5)
    assert refusal(state, header(5, epoch=3)) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert state.producers()[0].producer_epoch == 4


def test_batches_of_an_older_epoch_are_no_duplicates() -> None:
    state = ProducerState()
    for sequence in range(5):
        write(state, header(sequence, epoch=0), sequence)
    write(state, header(0, epoch=1), 5)

    assert refusal(state, header(3, epoch=1)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_producers_do_not_disturb_each_other() -> None:
    state = ProducerState()
    for producer in range(50):
        write(state, header(producer, producer=producer), producer)

    for producer in range(50):
        write(state, header(producer + 1, producer=producer), 100 + producer)


def test_silent_producers_expire_unless_a_transaction_is_open() -> None:
    state = ProducerState()
    write(state, header(0, producer=1), 0, now_ms=100)
    write(state, header(0, producer=2, attributes=TRANSACTIONAL), 1, now_ms=100)
    write(state, header(0, producer=3), 2, now_ms=500)

    assert state.expire(now_ms=700, expiration_ms=500) == 1

    assert sorted(producer.producer_id for producer in state.producers()) == [2, 3]


def test_too_many_producers_push_out_the_longest_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_state, "PRODUCERS_PER_PARTITION_MAX", 10)
    monkeypatch.setattr(producer_state, "EVICTED_AT_ONCE", 3)
    state = ProducerState()
    for producer in range(11):
        write(state, header(0, producer=producer), producer, now_ms=1_000 - producer)

    assert len(state) == 8
    assert {producer.producer_id for producer in state.producers()} == {*range(7), 10}


# Snapshots ---------------------------------------------------------------------------------------------


def test_the_snapshot_is_kafkas_format() -> None:
    state = ProducerState()
    write(state, header(40, 3, epoch=2, producer=9), 70, now_ms=5)

    body = struct.pack(">i", 1) + struct.pack(">qhiqiqiq", 9, 2, 42, 72, 2, 5, -1, -1)

    assert encode_snapshot(state) == struct.pack(">hI", 1, crc32c(body)) + body


@given(
    st.dictionaries(
        st.integers(0, 2**62),
        st.tuples(st.integers(0, 2**15 - 1), st.integers(0, SEQUENCE_MAX), st.integers(1, 100)),
        max_size=20,
    )
)
def test_a_snapshot_reads_back_with_the_last_batch(producers: dict[int, tuple[int, int, int]]) -> None:
    state = ProducerState()
    for offset, (producer, (epoch, first, count)) in enumerate(producers.items()):
        write(state, header(first, count, epoch=epoch, producer=producer), offset * 1_000, now_ms=offset)

    again = ProducerState()
    again.restore(decode_snapshot(encode_snapshot(state)))

    assert again.producers() == state.producers()
    for offset, (producer, (epoch, first, count)) in enumerate(producers.items()):
        found = again.check(header(first, count, epoch=epoch, producer=producer))
        assert found is not None
        assert found.base_offset == offset * 1_000


@given(st.integers(0, 97), st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(position: int, bit: int) -> None:
    state = ProducerState()
    for producer in range(2):
        write(state, header(7, producer=producer), producer)
    content = bytearray(encode_snapshot(state))
    content[position % len(content)] ^= 1 << bit

    with pytest.raises(ValueError):
        decode_snapshot(bytes(content))


@pytest.mark.parametrize("content", [b"", b"\x00\x01", encode_snapshot(ProducerState())[:-1]])
def test_a_short_snapshot_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode_snapshot(content)


def test_the_newest_valid_snapshot_in_range_is_used_and_broken_ones_removed() -> None:
    disk = MemoryFileSystem()
    disk.make_directory("/p")
    snapshots = ProducerSnapshots(disk, "/p", [])
    state = ProducerState()
    for offset in (10, 20, 30, 40):
        state.update(header(offset), offset - 1, 1)
        assert snapshots.take(state, offset, durable=False)
    assert not snapshots.take(state, 40, durable=False)
    disk.write_file("/p/00000000000000000030.snapshot", b"broken")

    loaded = ProducerState()

    assert snapshots.load_newest(loaded, 0, 35) == 20
    assert loaded.producers()[0].last_sequence == 20
    assert snapshots.offsets == [10, 20, 40]
    assert snapshots.load_newest(loaded, 15, 19) is None
    assert len(loaded) == 0
    snapshots.remove_above(20)
    snapshots.keep_only({20})
    assert disk.list_directory("/p") == ["00000000000000000020.snapshot"]
