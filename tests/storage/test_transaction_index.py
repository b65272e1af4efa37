"""The transaction index: Kafka's bytes, what overlaps a read, and what happens when a file is not what was written."""

from __future__ import annotations

import errno
import struct

import pytest

from broker.errors import KafkaError
from broker.storage.aborted_transactions import (
    ABORTED_FILE,
    NO_ABORTS,
    decode_fingerprints,
    encode_fingerprints,
)
from broker.storage.index_cache import IndexCache
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.storage.open_transactions import EndedTransaction
from broker.storage.sparse_index import IndexDamaged
from broker.storage.transaction_index import (
    NOTHING,
    AbortedTransaction,
    Fingerprint,
    TransactionIndex,
    decode_entries,
    encode_entries,
)
from tests.storage.committed import append_marker, check_committed
from tests.storage.support import CONFIG, PARTITION, PATH, TOPIC_ID, append, flush, open_log_dir

DIRECTORY = f"{PATH}/{PARTITION}"
FIRST = f"{DIRECTORY}/{0:020d}.txnindex"
ROLL_MS = 10**15


@pytest.fixture
def disk() -> MemoryFileSystem:
    return MemoryFileSystem()


def opened(disk: MemoryFileSystem) -> tuple[LogDir, Log]:
    log_dir = open_log_dir(disk)
    return log_dir, log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)


def transaction(log: Log, producer: int, *, commit: bool) -> None:
    known = {p.producer_id: p.last_sequence for p in log.producer_state.producers()}
    append(
        log,
        b"x",
        producer_id=producer,
        producer_epoch=0,
        base_sequence=known.get(producer, -1) + 1,
        is_transactional=True,
    )
    append_marker(log, producer, commit=commit)


def aborted(log: Log, offset: int = 0) -> tuple[tuple[int, int], ...]:
    return log.aborted_transactions(offset, log.read(offset, 1 << 20, upto_offset=log.log_end_offset))


# The file --------------------------------------------------------------------------------------------


def test_entries_are_kafkas_34_bytes(disk: MemoryFileSystem) -> None:
    _, log = opened(disk)
    append(log, b"before")
    append(log, b"x", producer_id=8, producer_epoch=0, base_sequence=0, is_transactional=True)
    append(log, b"x", producer_id=9, producer_epoch=0, base_sequence=0, is_transactional=True)
    append_marker(log, 8, commit=False)
    append_marker(log, 9, commit=False)

    expected = struct.pack(">hqqqq", 0, 8, 1, 3, 2) + struct.pack(">hqqqq", 0, 9, 2, 4, 5)
    assert disk.read_file(FIRST) == expected
    assert decode_entries(expected, 0) == [AbortedTransaction(8, 1, 3, 2), AbortedTransaction(9, 2, 4, 5)]


def test_a_log_without_aborted_transactions_has_no_file_of_it(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    transaction(log, 8, commit=True)
    append_marker(log, 9, commit=False)
    log.roll_if_due(ROLL_MS)
    transaction(log, 8, commit=True)
    log_dir.close(clean=True)

    assert [name for name in disk.list_directory(DIRECTORY) if "txn" in name or "aborted" in name] == []


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 33,
        struct.pack(">hqqqq", 1, 8, 1, 3, 2),
        struct.pack(">hqqqq", 0, -1, 1, 3, 2),
        struct.pack(">hqqqq", 0, 8, 3, 3, 2),
        struct.pack(">hqqqq", 0, 8, -1, 3, 2),
        struct.pack(">hqqqq", 0, 8, 1, 9, 2),
        struct.pack(">hqqqq", 0, 8, 1, 12, 2) * 2,
    ],
)
def test_what_cannot_be_an_index_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode_entries(content, 10)


def test_a_file_that_is_not_what_was_written_is_noticed(disk: MemoryFileSystem) -> None:
    disk.make_directory("/p")
    content = encode_entries([AbortedTransaction(8, 1, 3, 4)])
    disk.write_file("/p/index", content)
    other = TransactionIndex("/p/index", 0, disk, IndexCache(1_000), Fingerprint(1, 17))

    with pytest.raises(IndexDamaged):
        other.entries()


def test_an_index_that_is_put_out_of_memory_comes_back_and_is_checked(disk: MemoryFileSystem) -> None:
    disk.make_directory("/p")
    index = TransactionIndex("/p/index", 0, disk, IndexCache(1_000), NOTHING)
    index.add(EndedTransaction(8, 1, 3, 4, True))
    assert index.unload()
    assert index.entries() == [AbortedTransaction(8, 1, 3, 4)]
    assert index.unload()
    content = bytearray(disk.read_file("/p/index") or b"")
    content[9] ^= 1
    disk.write_file("/p/index", bytes(content))

    with pytest.raises(IndexDamaged):
        index.entries()


def test_on_a_full_disk_the_entry_waits_in_memory(disk: MemoryFileSystem) -> None:
    def full(operation: str, path: str) -> None:
        raise OSError(errno.ENOSPC, "full", path)

    disk.make_directory("/p")
    index = TransactionIndex("/p/index", 0, disk, IndexCache(1_000), NOTHING)
    disk.fault = full
    index.add(EndedTransaction(8, 1, 3, 4, True))
    assert not index.unload()
    disk.fault = None

    assert len(index.entries()) == 1
    index.flush()
    assert disk.read_file("/p/index") == encode_entries(index.entries())


@pytest.mark.parametrize("content", [b"", b"1\n0\n", b"0\n1\n", b"0\n1\n5 2 7", b"0\n1\n5 2\n", b"\xff"])
def test_a_checkpoint_that_does_not_read_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        decode_fingerprints(content)


def test_the_checkpoint_reads_back() -> None:
    known = {0: Fingerprint(3, 77), 90: Fingerprint(1, 2**32 - 1)}

    assert decode_fingerprints(encode_fingerprints(known)) == known
    assert decode_fingerprints(NO_ABORTS) == {}


# Reading ---------------------------------------------------------------------------------------------


def test_only_what_reaches_into_the_records_is_named_in_the_order_of_first_offsets(disk: MemoryFileSystem) -> None:
    _, log = opened(disk)
    append(log, b"x", producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True)  # 0
    append(log, b"x", producer_id=2, producer_epoch=0, base_sequence=0, is_transactional=True)  # 1
    append_marker(log, 2, commit=False)  # 2
    append_marker(log, 1, commit=False)  # 3
    transaction(log, 3, commit=True)  # 4, 5
    transaction(log, 4, commit=False)  # 6, 7

    assert aborted(log) == ((1, 0), (2, 1), (4, 6))
    assert aborted(log, 3) == ((1, 0), (4, 6))
    assert aborted(log, 4) == ((4, 6),)
    assert log.aborted_transactions(4, log.read(4, 1 << 20, upto_offset=6)) == ()
    assert log.aborted_transactions(0, log.read(0, 1 << 20, upto_offset=1)) == ((1, 0),)
    assert log.aborted_transactions(8, ()) == ()


def test_a_marker_in_a_later_segment_is_found(disk: MemoryFileSystem) -> None:
    _, log = opened(disk)
    append(log, b"x", producer_id=1, producer_epoch=0, base_sequence=0, is_transactional=True)
    for _ in range(3):
        log.roll_if_due(ROLL_MS)
        append(log, b"between")
    append_marker(log, 1, commit=False)

    assert aborted(log, 0) == ((1, 0),)
    assert aborted(log, 2) == ((1, 0),)
    check_committed(log)


# Loss ------------------------------------------------------------------------------------------------


def lose(disk: MemoryFileSystem, how: str, path: str) -> None:
    content = bytearray(disk.read_file(path) or b"")
    assert content
    match how:
        case "missing":
            disk.unlink(path)
        case "short":
            disk.write_file(path, content[:-34])
        case "altered":
            content[-1] ^= 4
            disk.write_file(path, bytes(content))


@pytest.mark.parametrize("how", ["missing", "short", "altered"])
@pytest.mark.parametrize("clean", [True, False])
def test_an_index_that_is_lost_is_made_anew(disk: MemoryFileSystem, how: str, clean: bool) -> None:
    log_dir, log = opened(disk)
    transaction(log, 1, commit=False)
    append(log, b"x", producer_id=2, producer_epoch=0, base_sequence=0, is_transactional=True)
    log.roll_if_due(ROLL_MS)
    transaction(log, 1, commit=False)
    append_marker(log, 2, commit=False)
    log.roll_if_due(ROLL_MS)
    append(log, b"after")
    flush(log)
    log_dir.checkpoint()
    second = f"{DIRECTORY}/{3:020d}.txnindex"
    written = disk.read_file(second)
    log_dir.close(clean=clean)
    lose(disk, how, second)

    _, log = opened(disk)

    assert aborted(log) == ((1, 0), (2, 2))
    assert aborted(log, 3) == ((2, 2), (1, 3))
    log.save_shortcuts()
    assert how == "altered" or disk.read_file(second) == written
    check_committed(log)


@pytest.mark.parametrize("content", [None, b"", b"nonsense\n"])
def test_the_checkpoint_may_be_lost(disk: MemoryFileSystem, content: bytes | None) -> None:
    log_dir, log = opened(disk)
    transaction(log, 1, commit=False)
    log_dir.close(clean=True)
    path = f"{DIRECTORY}/{ABORTED_FILE}"
    assert decode_fingerprints(disk.read_file(path) or b"")[0].entry_count == 1
    if content is None:
        disk.unlink(path)
    else:
        disk.write_file(path, content)

    _, log = opened(disk)

    assert aborted(log) == ((1, 0),)
    assert decode_fingerprints(disk.read_file(path) or b"")[0].entry_count == 1


def test_a_leftover_index_of_something_else_is_not_believed(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    transaction(log, 1, commit=False)
    log.roll_if_due(ROLL_MS)
    transaction(log, 2, commit=True)
    log_dir.close(clean=True)
    disk.write_file(f"{DIRECTORY}/{2:020d}.txnindex", encode_entries([AbortedTransaction(2, 2, 3, 4)]))

    _, log = opened(disk)

    assert aborted(log) == ((1, 0),)


def test_a_damaged_marker_takes_the_partition_offline_instead_of_guessing(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    transaction(log, 1, commit=False)
    log_dir.close(clean=True)
    path = f"{DIRECTORY}/{0:020d}.log"
    content = bytearray(disk.read_file(path) or b"")
    content[-8] ^= 1
    disk.write_file(path, bytes(content))
    disk.unlink(FIRST)

    again = open_log_dir(disk)

    assert PARTITION in again.offline


# Going away ------------------------------------------------------------------------------------------


def test_the_index_is_cut_with_the_log(disk: MemoryFileSystem) -> None:
    _, log = opened(disk)
    transaction(log, 1, commit=False)
    transaction(log, 2, commit=False)
    log.truncate_to(3)

    assert aborted(log) == ((1, 0),)
    assert log.producer_state.transactions.first_undecided() == 2
    append_marker(log, 2, commit=True)
    assert aborted(log) == ((1, 0),)


def test_the_index_goes_with_its_segment(disk: MemoryFileSystem) -> None:
    log_dir, log = opened(disk)
    transaction(log, 1, commit=False)
    log.roll_if_due(ROLL_MS)
    transaction(log, 2, commit=False)
    log.delete_segments_below(2)
    log_dir.close(clean=True)

    assert aborted_files(disk) == {f"{2:020d}.txnindex", f"{0:020d}.txnindex.deleted"}
    _, log = opened(disk)
    assert log.aborted_transactions(2, log.read(2, 1 << 20, upto_offset=4)) == ((2, 2),)


def aborted_files(disk: MemoryFileSystem) -> set[str]:
    return {name for name in disk.list_directory(DIRECTORY) if "txnindex" in name}


def test_a_log_begun_anew_knows_no_aborted_transactions(disk: MemoryFileSystem) -> None:
    _, log = opened(disk)
    transaction(log, 1, commit=False)
    log.restart_at(10)
    append(log, b"x")

    assert aborted(log, 10) == ()


# Following -------------------------------------------------------------------------------------------


def test_a_follower_takes_markers_as_they_come_and_knows_what_its_leader_knows(disk: MemoryFileSystem) -> None:
    _, leader = opened(disk)
    transaction(leader, 1, commit=False)
    append(leader, b"x", producer_id=2, producer_epoch=5, base_sequence=0, is_transactional=True)
    append_marker(leader, 2, commit=True, producer_epoch=6, coordinator_epoch=3)
    append(leader, b"x", producer_id=1, producer_epoch=0, base_sequence=1, is_transactional=True)
    _, follower = opened(MemoryFileSystem())

    for piece in leader.read(0, 1 << 20, upto_offset=leader.log_end_offset):
        follower.append_as_follower(bytes(piece))

    assert follower.producer_state.producers() == leader.producer_state.producers()
    assert follower.producer_state.transactions.first_undecided() == 4
    assert aborted(follower) == aborted(leader) == ((1, 0),)
    check_committed(follower)


def test_a_stale_marker_of_a_leader_is_not_judged_again(disk: MemoryFileSystem) -> None:
    _, leader = opened(disk)
    append_marker(leader, 1, commit=True, producer_epoch=3, coordinator_epoch=9)
    with pytest.raises(KafkaError):
        append_marker(leader, 1, commit=True, producer_epoch=3, coordinator_epoch=8)
    (first,) = leader.read(0, 1 << 20, upto_offset=1)
    _, follower = opened(MemoryFileSystem())
    append_marker(follower, 1, commit=True, producer_epoch=4, coordinator_epoch=10)
    follower.restart_at(0)
    follower.append_as_follower(bytes(first))

    assert [(p.producer_epoch, p.coordinator_epoch) for p in follower.producer_state.producers()] == [(3, 9)]
