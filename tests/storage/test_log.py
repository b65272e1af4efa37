"""Appending to and reading from one log."""

from __future__ import annotations

import errno

import pytest

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import read_header
from broker.protocol.records import iter_records
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.storage.timestamp_search import SPAN_TOLERATED_MS
from broker.types import NO_TIMESTAMP
from tests.storage.support import (
    CONFIG,
    NOW_MS,
    PARTITION,
    SMALL_SEGMENTS,
    TOPIC_ID,
    append,
    batch,
    flush,
    offsets,
    open_log,
    open_log_dir,
    read_all,
    size_of,
    values,
)


@pytest.fixture
def filesystem() -> MemoryFileSystem:
    return MemoryFileSystem()


def test_offsets_are_given_in_order(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)

    first = append(log, b"a", b"b", b"c")
    second = append(log, b"d")

    assert (first.base_offset, first.last_offset, first.record_count) == (0, 2, 3)
    assert (second.base_offset, second.last_offset, second.duplicate) == (3, 3, False)
    assert log.log_end_offset == 4
    assert values(read_all(log)) == [b"a", b"b", b"c", b"d"]
    assert offsets(read_all(log)) == [0, 1, 2, 3]


def test_a_writable_buffer_is_stamped_in_place_and_a_read_only_one_left_alone(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"before")
    writable, frozen = batch(b"w"), bytes(batch(b"r"))

    log.append_as_leader(memoryview(writable), leader_epoch=7, now_ms=NOW_MS)
    log.append_as_leader(memoryview(frozen), leader_epoch=7, now_ms=NOW_MS)

    assert (read_header(writable).base_offset, read_header(writable).leader_epoch) == (1, 7)
    assert frozen == bytes(batch(b"r"))
    [data] = log.read(2, 1 << 20, upto_offset=3)
    assert (read_header(data).base_offset, read_header(data).leader_epoch) == (2, 7)
    assert values(read_all(log)) == [b"before", b"w", b"r"]


def test_a_coordinator_may_append_several_batches_at_once(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    joined = bytes(batch(b"a", b"b") + batch(b"c"))

    result = log.append_as_leader(memoryview(joined), leader_epoch=0, now_ms=NOW_MS, origin="coordinator")

    assert (result.base_offset, result.last_offset, result.record_count) == (0, 2, 3)
    assert offsets(read_all(log)) == [0, 1, 2]


def test_a_follower_keeps_the_leaders_offsets_and_epochs(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    log.restart_at(5)
    sent = batch(b"a", b"b", base_offset=5, leader_epoch=3) + batch(b"c", base_offset=7, leader_epoch=4)

    result = log.append_as_follower(memoryview(sent))

    assert (result.base_offset, result.last_offset) == (5, 7)
    assert offsets(read_all(log)) == [5, 6, 7]
    assert log.epochs() == [(3, 5), (4, 7)]
    with pytest.raises(KafkaError) as refused:
        log.append_as_follower(memoryview(batch(b"again", base_offset=7)))
    assert refused.value.code == ErrorCode.CORRUPT_MESSAGE


def test_a_follower_of_a_compacted_log_takes_its_gaps(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=TopicConfig(cleanup_policy=frozenset(["compact"])))

    log.append_as_follower(memoryview(batch(b"a", base_offset=5) + batch(b"b", base_offset=70)))

    assert offsets(read_all(log)) == [5, 70]
    assert log.log_end_offset == 71


def test_a_follower_takes_gaps_under_any_policy_and_still_knows_them_after_a_crash(
    filesystem: MemoryFileSystem,
) -> None:
    log_dir = open_log_dir(filesystem)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    log.append_as_follower(memoryview(batch(b"a")))
    log.append_as_follower(memoryview(batch(b"b", base_offset=70)))
    assert offsets(read_all(log)) == [0, 70]

    log_dir.close(clean=False)
    reopened = open_log_dir(filesystem)

    assert not reopened.offline
    assert offsets(read_all(reopened.logs[PARTITION])) == [0, 70]


def test_a_log_can_begin_anew_at_any_offset(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=SMALL_SEGMENTS)
    for number in range(60):
        append(log, b"%d" % number, producer_id=1, producer_epoch=0, base_sequence=number)
    flush(log)

    log.restart_at(1_000)

    assert (log.log_start_offset, log.log_end_offset, log.flushed_offset) == (1_000, 1_000, 1_000)
    assert (log.size_bytes, log.segment_count, log.epochs(), len(log.producer_state)) == (0, 1, [], 0)
    assert append(log, b"next").base_offset == 1_000
    assert offsets(read_all(log)) == [1_000]


# Reading -----------------------------------------------------------------------------------------------


def test_a_read_returns_whole_batches_within_the_limit(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    for number in range(50):
        append(log, b"%010d" % number)
    one = len(batch(b"0" * 10))

    data = log.read(0, 5 * one, upto_offset=50)

    assert size_of(data) <= 5 * one
    assert [offset for buffer in data for offset in offsets(iter_records(buffer))] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("max_bytes", [0, 1, 60, 61, 100])
def test_the_first_batch_is_whole_however_small_the_limit(filesystem: MemoryFileSystem, max_bytes: int) -> None:
    log = open_log(filesystem)
    append(log, b"x" * 500)
    append(log, b"y")

    assert values(iter_records(log.read(0, max_bytes, upto_offset=2)[0])) == [b"x" * 500]
    assert log.read(0, max_bytes, upto_offset=2, at_least_one=False) == []


def test_an_offset_inside_a_batch_returns_that_batch(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a", b"b", b"c")
    append(log, b"d", b"e")

    assert offsets(iter_records(log.read(1, 1, upto_offset=5)[0])) == [0, 1, 2]
    assert offsets(iter_records(log.read(4, 1, upto_offset=5)[0])) == [3, 4]


def test_a_read_stops_at_the_given_offset_and_is_empty_at_the_end(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    for number in range(10):
        append(log, b"%d" % number)

    [data] = log.read(0, 1 << 20, upto_offset=4)

    assert offsets(iter_records(data)) == [0, 1, 2, 3]
    assert log.read(4, 1 << 20, upto_offset=4) == []
    assert log.read(10, 1 << 20, upto_offset=10) == []


def test_offsets_outside_the_log_are_out_of_range(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a", b"b")
    append(log, b"c")
    log.advance_log_start(2)

    for offset in (-1, 0, 1, 4):
        with pytest.raises(KafkaError) as refused:
            log.read(offset, 100, upto_offset=3)
        assert refused.value.code == ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize("max_bytes", [1, 300, 1_000, 5_000, 1 << 20])
def test_every_record_is_read_once_over_many_segments(filesystem: MemoryFileSystem, max_bytes: int) -> None:
    log = open_log(filesystem, config=SMALL_SEGMENTS)
    for number in range(200):
        append(log, *[b"%d" % number] * (1 + number % 3))

    assert log.segment_count > 3
    assert offsets(read_all(log, max_bytes=max_bytes)) == list(range(log.log_end_offset))


# Rolling -----------------------------------------------------------------------------------------------


def test_a_segment_rolls_when_the_next_batch_does_not_fit(filesystem: MemoryFileSystem) -> None:
    size = len(batch(b"x" * 100))
    log = open_log(filesystem, config=TopicConfig(segment_bytes=3 * size))

    for _ in range(7):
        append(log, b"x" * 100)

    found = log.segments()
    assert [(segment.base_offset, segment.end_offset, segment.active) for segment in found] == [
        (0, 3, False),
        (3, 6, False),
        (6, 7, True),
    ]
    assert [segment.size_bytes for segment in found] == [3 * size, 3 * size, size]
    assert log.size_bytes == 7 * size


def test_a_segment_rolls_by_the_time_between_records(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=TopicConfig(segment_ms=1_000))
    append(log, b"first", timestamps=[5_000])
    append(log, b"within", timestamps=[6_000])
    append(log, b"old", timestamps=[10])
    append(log, b"late", timestamps=[6_001])

    assert [segment.base_offset for segment in log.segments()] == [0, 3]


def test_jitter_shortens_the_life_of_a_segment_and_is_the_same_after_a_restart(filesystem: MemoryFileSystem) -> None:
    config = TopicConfig(segment_ms=100_000, segment_jitter_ms=100_000)
    log = open_log(filesystem, config=config)
    append(log, b"first", timestamps=[0])
    step = 0
    while log.segment_count == 1:
        step += 1_000
        append(log, b"next", timestamps=[step])

    assert 0 < step < 100_000
    again = MemoryFileSystem()
    twin = open_log(again, config=config)
    append(twin, b"first", timestamps=[0])
    append(twin, b"next", timestamps=[step - 1_000])
    assert twin.segment_count == 1


def test_a_quiet_segment_rolls_by_the_brokers_clock(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=TopicConfig(segment_ms=1_000))
    assert not log.roll_if_due(NOW_MS + 10_000), "an empty segment has nothing to close"
    append(log, b"from 1970", timestamps=[0])

    assert not log.roll_if_due(NOW_MS + 1_000)
    assert log.roll_if_due(NOW_MS + 1_001)
    assert [segment.active for segment in log.segments()] == [False, True]
    assert not log.roll_if_due(NOW_MS + 1_000_000)


@pytest.mark.parametrize("clean", [True, False])
def test_the_last_record_is_known_after_a_restart_though_the_active_segment_is_empty(
    filesystem: MemoryFileSystem, clean: bool
) -> None:
    config = TopicConfig(segment_ms=1_000)
    log_dir = open_log_dir(filesystem, config=config)
    log = log_dir.create_log(PARTITION, TOPIC_ID, config)
    append(log, b"last", timestamps=[NOW_MS])
    assert log.roll_if_due(NOW_MS + 5_000)
    flush(log)
    log_dir.close(clean=clean)

    again = open_log_dir(filesystem, config=config, known={PARTITION: TOPIC_ID}).logs[PARTITION]
    assert again.last_record_ms == NOW_MS


def test_a_full_index_rolls_the_segment(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=TopicConfig(segment_index_bytes=48, index_interval_bytes=0))

    for number in range(20):
        append(log, b"x", timestamps=[NOW_MS - 1_000 + number])

    assert log.segment_count > 2
    assert offsets(read_all(log)) == list(range(20))


@pytest.mark.parametrize("clean", [True, False])
def test_a_segment_rolls_before_its_relative_offsets_overflow(filesystem: MemoryFileSystem, clean: bool) -> None:
    config = TopicConfig(cleanup_policy=frozenset(["compact"]), index_interval_bytes=0)
    far = 2**40
    written = [0, 5, 2**31 - 1, 2**31, far, far + 1]
    log_dir = open_log_dir(filesystem, config=config)
    log = log_dir.create_log(PARTITION, TOPIC_ID, config)
    for offset in written:
        log.append_as_follower(memoryview(batch(b"x", base_offset=offset)))

    assert [segment.base_offset for segment in log.segments()] == [0, 2**31, far - 2**31 + 1, far + 1]
    assert offsets(read_all(log)) == written
    log_dir.close(clean=clean)
    assert offsets(read_all(open_log_dir(filesystem, config=config).logs[PARTITION])) == written


def test_a_changed_config_acts_on_the_next_append(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a")
    log.config = TopicConfig(segment_bytes=100)

    append(log, b"b")

    assert log.segment_count == 2


# Timestamps --------------------------------------------------------------------------------------------


def test_log_append_time_replaces_the_clients_timestamps(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=TopicConfig(message_timestamp_type="LogAppendTime"))

    result = append(log, b"a", b"b", timestamps=[1, 2], now_ms=NOW_MS)
    frozen = log.append_as_leader(bytes(batch(b"c", timestamps=[3])), leader_epoch=0, now_ms=NOW_MS + 1)

    assert result.log_append_time_ms == result.max_timestamp_ms == NOW_MS
    assert frozen.log_append_time_ms == NOW_MS + 1
    assert [record.timestamp for record in read_all(log)] == [NOW_MS, NOW_MS, NOW_MS + 1]
    assert log.offset_for_timestamp(NOW_MS + 1) == (2, NOW_MS + 1, 0)


def test_create_time_reports_no_append_time(filesystem: MemoryFileSystem) -> None:
    assert append(open_log(filesystem), b"a").log_append_time_ms == NO_TIMESTAMP


@pytest.mark.parametrize("compression", ["none", "gzip", "lz4", "zstd", "snappy"])
def test_search_by_timestamp_finds_the_first_record_not_older(filesystem: MemoryFileSystem, compression: str) -> None:
    log = open_log(filesystem, config=SMALL_SEGMENTS)
    times = [10, 30, 20, 40, 70, 60, 50, 80, 90, 100]
    for number in range(0, 200, 2):
        base = 1_000 * (number // 10)
        pair = [base + times[number % 10], base + times[number % 10 + 1]]
        append(log, b"a", b"b", timestamps=pair, compression=compression)
    records = read_all(log)

    assert log.segment_count > 2
    for target in [*range(0, 20_000, 35), 10, 30, 19_100]:
        expected = next(((r.offset, r.timestamp, 0) for r in records if r.timestamp >= target), None)
        assert log.offset_for_timestamp(target) == expected
    assert log.max_timestamp() == (199, 19_100, 0)
    for record in records:
        assert abs(log.timestamp_at(record.offset) - record.timestamp) <= SPAN_TOLERATED_MS


def test_the_timestamp_at_an_offset_is_exact_where_a_batch_spans_a_long_time(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a", b"b", b"c", timestamps=[1_000, 50_000, 100_000], compression="gzip")

    assert [log.timestamp_at(offset) for offset in range(4)] == [1_000, 50_000, 100_000, NO_TIMESTAMP]


def test_searches_of_an_empty_log_find_nothing(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)

    assert log.offset_for_timestamp(0) is None
    assert log.max_timestamp() is None
    assert log.timestamp_at(0) == NO_TIMESTAMP


def test_searches_respect_the_log_start(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a", b"b", b"c", timestamps=[300, 100, 200])
    append(log, b"d", timestamps=[50])
    log.advance_log_start(1)

    assert log.offset_for_timestamp(0) == (1, 100, 0)
    assert log.offset_for_timestamp(150) == (2, 200, 0)


# Epochs ------------------------------------------------------------------------------------------------


def test_epochs_are_recorded_with_the_first_batch_under_them(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a", leader_epoch=1)
    append(log, b"b", leader_epoch=1)
    append(log, b"c", leader_epoch=4)

    assert log.epochs() == [(1, 0), (4, 2)]
    assert log.latest_epoch == 4
    assert log.end_offset_for_epoch(1) == (1, 2)
    assert log.end_offset_for_epoch(3) == (1, 2)
    assert log.end_offset_for_epoch(4) == (4, 3)
    assert log.end_offset_for_epoch(5) == (-1, -1)


# Giving up the beginning -------------------------------------------------------------------------------


def test_retention_deletes_whole_closed_segments(filesystem: MemoryFileSystem) -> None:
    clock = ManualClock()
    log = open_log(filesystem, config=SMALL_SEGMENTS, clock=clock)
    for number in range(100):
        append(log, b"%d" % number)
    second = log.segments()[1]

    deleted = log.delete_segments_below(second.end_offset + 1)

    assert deleted[0] == 2
    assert log.log_start_offset == second.end_offset
    assert log.size_bytes == sum(segment.size_bytes for segment in log.segments())
    assert offsets(read_all(log)) == list(range(second.end_offset, 100))
    assert [name for name in filesystem.list_directory(log.directory) if name.endswith(".log.deleted")]


def test_retention_of_everything_closes_the_active_segment_first(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a")

    assert log.delete_segments_below(1)[0] == 1
    assert (log.log_start_offset, log.log_end_offset, log.size_bytes) == (1, 1, 0)
    append(log, b"b")
    assert offsets(read_all(log)) == [1]


def test_retention_never_reaches_behind_the_end_of_the_log(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a")

    log.delete_segments_below(1_000)

    assert (log.log_start_offset, log.log_end_offset) == (1, 1)


def test_deleted_files_are_unlinked_after_the_delay(filesystem: MemoryFileSystem) -> None:
    clock = ManualClock()
    config = TopicConfig(segment_bytes=2_000, file_delete_delay_ms=500)
    log = open_log(filesystem, config=config, clock=clock)
    for _ in range(100):
        append(log, b"x")
    log.delete_segments_below(log.segments()[0].end_offset)
    deletions = log._environment.deletions

    assert deletions.take_due(clock.wall_ms() + 499) is None
    due = deletions.take_due(clock.wall_ms() + 500)

    assert due is not None
    assert due.run() == []
    assert not [name for name in filesystem.list_directory(log.directory) if name.endswith(".deleted")]


def test_delete_records_moves_the_start_inside_a_segment(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    for number in range(10):
        append(log, b"%d" % number)

    log.advance_log_start(4)
    log.advance_log_start(2)

    assert log.log_start_offset == 4
    assert offsets(read_all(log)) == list(range(4, 10))
    with pytest.raises(KafkaError) as refused:
        log.advance_log_start(11)
    assert refused.value.code == ErrorCode.OFFSET_OUT_OF_RANGE


# Truncation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0, 1, 30, 50, 99])
def test_truncation_cuts_at_the_batch_and_the_log_goes_on(filesystem: MemoryFileSystem, target: int) -> None:
    log = open_log(filesystem, config=SMALL_SEGMENTS)
    for number in range(100):
        append(log, b"%d" % number, leader_epoch=number // 10)
    flush(log)

    log.truncate_to(target)

    assert log.log_end_offset == log.flushed_offset == target
    assert offsets(read_all(log)) == list(range(target))
    assert all(start < target or target == 0 for _, start in log.epochs())
    assert append(log, b"next", leader_epoch=50).base_offset == target
    assert values(read_all(log))[-1] == b"next"


def test_reads_after_a_truncation_do_not_remember_where_batches_were(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    for _ in range(20):
        append(log, b"long " * 20)
    for offset in range(20):
        log.read(offset, 1, upto_offset=20)
    log.truncate_to(3)
    for _ in range(30):
        append(log, b"s")

    for offset in reversed(range(33)):
        assert offsets(iter_records(log.read(offset, 1, upto_offset=33)[0])) == [offset]


def test_truncation_inside_a_batch_gives_up_the_whole_batch(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a")
    append(log, b"b", b"c", b"d")

    log.truncate_to(2)

    assert log.log_end_offset == 1


def test_truncation_forgets_what_producers_wrote_behind_it(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=SMALL_SEGMENTS)
    for number in range(60):
        append(log, b"%d" % number, producer_id=9, producer_epoch=0, base_sequence=number)

    log.truncate_to(30)

    assert [producer.last_sequence for producer in log.producer_state.producers()] == [29]
    assert append(log, b"30", producer_id=9, producer_epoch=0, base_sequence=30).base_offset == 30


def test_after_a_truncation_the_last_five_batches_are_known_wherever_segments_begin(
    filesystem: MemoryFileSystem,
) -> None:
    log = open_log(filesystem, config=SMALL_SEGMENTS)
    for number in range(60):
        append(log, b"%d" % number, producer_id=9, producer_epoch=0, base_sequence=number)

    for end in range(50, 20, -1):
        log.truncate_to(end)
        for number in range(end - 5, end):
            again = append(log, b"%d" % number, producer_id=9, producer_epoch=0, base_sequence=number)
            assert (again.duplicate, again.base_offset) == (True, number)


# Producers ---------------------------------------------------------------------------------------------


def test_a_repeated_batch_answers_with_the_original_offsets_and_writes_nothing(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    options = {"producer_id": 7, "producer_epoch": 0}
    for sequence in range(0, 10, 2):
        append(log, b"a", b"b", base_sequence=sequence, **options)
    size = log.size_bytes

    again = append(log, b"a", b"b", base_sequence=2, **options)

    assert (again.duplicate, again.base_offset, again.last_offset) == (True, 2, 3)
    assert (again.record_count, again.byte_count, log.size_bytes) == (0, 0, size)


def test_a_gap_in_the_sequence_is_refused(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a", producer_id=7, producer_epoch=0, base_sequence=0)

    with pytest.raises(KafkaError) as refused:
        append(log, b"c", producer_id=7, producer_epoch=0, base_sequence=2)

    assert refused.value.code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.log_end_offset == 1


# Failing disks -----------------------------------------------------------------------------------------


def test_a_full_disk_refuses_the_append_and_leaves_no_torn_batch(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"kept")
    filesystem.capacity_bytes = filesystem.used_bytes() + 30

    with pytest.raises(KafkaError) as refused:
        append(log, b"x" * 100)

    assert refused.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    filesystem.capacity_bytes = None
    assert append(log, b"after").base_offset == 1
    assert values(read_all(log)) == [b"kept", b"after"]


def test_a_full_disk_can_still_be_emptied(filesystem: MemoryFileSystem) -> None:
    log_dir = open_log_dir(filesystem, config=SMALL_SEGMENTS)
    log = log_dir.create_log(PARTITION, TOPIC_ID, SMALL_SEGMENTS)
    for _ in range(100):
        append(log, b"x")
    filesystem.capacity_bytes = filesystem.used_bytes()
    with pytest.raises(KafkaError):
        append(log, b"x" * 100)

    assert log.delete_segments_below(50)[0] > 0
    log_dir.purge_due(NOW_MS + 10**9)
    log.advance_log_start(60)
    log_dir.checkpoint()

    assert log_dir.failed_reason is None
    assert append(log, b"x").base_offset == 100
    filesystem.capacity_bytes = None
    log_dir.close(clean=False)
    assert open_log_dir(filesystem, config=SMALL_SEGMENTS).logs[PARTITION].log_start_offset == 60


def test_an_error_of_the_disk_while_writing_is_final(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a")

    def fail(operation: str, path: str) -> None:
        if operation == "write" and path.endswith(".log"):
            raise OSError(errno.EIO, "I/O error", path)

    filesystem.fault = fail
    for _ in range(2):
        with pytest.raises(KafkaError) as refused:
            append(log, b"b")
        assert refused.value.code == ErrorCode.KAFKA_STORAGE_ERROR
        filesystem.fault = None
    assert values(read_all(log)) == [b"a"]


def test_a_failed_fsync_is_final_for_every_log_of_the_directory(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a")
    ticket = log.flush_ticket()
    assert ticket is not None

    def fail(operation: str, path: str) -> None:
        if operation == "sync":
            raise OSError(errno.EIO, "I/O error", path)

    filesystem.fault = fail
    with pytest.raises(OSError, match="I/O error"):
        ticket.run()
    filesystem.fault = None
    with pytest.raises(KafkaError) as refused:
        log.flushed(ticket)

    assert refused.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert log.flushed_offset == 0
    with pytest.raises(KafkaError, match="failed"):
        append(log, b"b")
    assert log.flush_ticket() is None


def test_bytes_that_changed_on_disk_are_never_served(filesystem: MemoryFileSystem) -> None:
    log_dir_log = open_log(filesystem)
    append(log_dir_log, b"a" * 100)
    append(log_dir_log, b"b" * 100)
    log_dir_log.close(clean=True)
    path = log_dir_log.segments()[0]
    name = f"{log_dir_log.directory}/{path.base_offset:020d}.log"
    content = bytearray(filesystem.read_file(name) or b"")
    content[80] ^= 1

    damaged = MemoryFileSystem()
    first = open_log(damaged)
    append(first, b"a" * 100)
    append(first, b"b" * 100)
    first._segments.active.unverified_end = first._segments.active.size
    damaged.write_file(name, content)

    with pytest.raises(KafkaError) as refused:
        first.read(0, 1 << 20, upto_offset=2)
    assert refused.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert "CRC" in (first.offline_reason or "")
    with pytest.raises(KafkaError):
        append(first, b"c")


# Flushing ----------------------------------------------------------------------------------------------


def test_flushed_offset_follows_the_ticket_not_the_log(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a")
    ticket = log.flush_ticket()
    append(log, b"b")
    assert ticket is not None
    assert log.flush_ticket() is None, "one ticket at a time"
    ticket.run()
    log.flushed(ticket)

    assert (log.flushed_offset, log.log_end_offset) == (1, 2)
    flush(log)
    assert log.flushed_offset == 2
    assert log.flush_ticket() is None, "nothing left to flush"


def test_a_closed_segment_asks_to_be_flushed(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    append(log, b"a")
    assert not log.closed_segments_unflushed

    log.roll_if_due(NOW_MS + 10**12)
    assert log.closed_segments_unflushed
    flush(log)

    assert not log.closed_segments_unflushed


def test_a_ticket_from_before_a_truncation_vouches_for_nothing(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem)
    for _ in range(5):
        append(log, b"old")
    ticket = log.flush_ticket()
    assert ticket is not None
    log.truncate_to(1)
    append(log, b"new")
    append(log, b"new")
    ticket.run()
    log.flushed(ticket)

    assert log.flushed_offset == 0
    flush(log)
    assert log.flushed_offset == 3


def test_a_segment_deleted_while_its_ticket_is_out_stays_open_until_it_is_back(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=SMALL_SEGMENTS)
    for _ in range(40):
        append(log, b"x")
    ticket = log.flush_ticket()
    assert ticket is not None
    log.delete_segments_below(40)
    before = filesystem.open_descriptors()
    ticket.run()
    log.flushed(ticket)

    assert filesystem.open_descriptors() < before
    assert log.flushed_offset == 40


def test_statistics_are_a_value(filesystem: MemoryFileSystem) -> None:
    log = open_log(filesystem, config=CONFIG)
    append(log, b"a", b"b", timestamps=[NOW_MS, NOW_MS - 5], producer_id=1, producer_epoch=0, base_sequence=0)

    found = log.statistics()

    assert (found.log_start_offset, found.log_end_offset, found.flushed_offset) == (0, 2, 0)
    assert (found.segment_count, found.last_record_ms, found.producers) == (1, NOW_MS, 1)
    assert found.size_bytes == log.size_bytes
