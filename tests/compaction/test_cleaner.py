"""One partition, compacted: what stays, what goes, and what its files look like afterwards."""

from __future__ import annotations

import pytest

from broker.compaction.cleaner import GROUP_SEGMENTS_MAX
from broker.compaction.cleaning import BatchCleaner, CleaningCounts, ProducerTail
from broker.compaction.offset_map import OffsetMap
from broker.compaction.transactions import TransactionFilter
from broker.protocol.batch import DELETE_HORIZON, read_header, scan_batches
from broker.protocol.records import Record, build_batch, iter_records
from broker.storage.transaction_index import decode_entries
from tests.compaction.stage import CONFIG, Stage, small_map, with_config
from tests.storage.support import PARTITION, TOPIC_ID


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_last_record_of_every_key_stays_at_its_offset(stage: Stage) -> None:
    for number in range(30):
        stage.append((b"%d" % (number % 3), b"%d" % number))
    stage.close_segment()
    stage.compact()
    assert stage.records() == [(27, b"0", b"27"), (28, b"1", b"28"), (29, b"2", b"29")]
    assert (stage.log.log_start_offset, stage.log.log_end_offset) == (0, 30)


def test_records_without_a_key_go(stage: Stage) -> None:
    stage.append((None, b"x"), (b"a", b"1"))
    stage.close_segment()
    stage.compact()
    assert stage.records() == [(1, b"a", b"1")]


def test_the_open_segment_is_never_touched(stage: Stage) -> None:
    stage.append((b"a", b"1"))
    stage.close_segment()
    stage.append((b"a", b"2"))
    stage.append((b"a", b"3"))
    stage.compact()
    assert [offset for offset, _, _ in stage.records()] == [0, 1, 2]


def test_what_is_not_decided_yet_is_never_touched(stage: Stage) -> None:
    for number in range(3):
        stage.append((b"a", b"%d" % number))
        stage.close_segment()
    stage.undecided = 2
    stage.compact()
    assert [offset for offset, _, _ in stage.records()] == [1, 2]
    assert stage.log.first_dirty_offset == 2


def test_small_segments_become_one_and_large_ones_stay_apart(stage: Stage) -> None:
    for number in range(8):
        stage.append((b"%d" % number, bytes(400)))
        stage.close_segment()
    assert stage.log.segment_count == 9
    stage.compact()
    assert stage.log.segment_count == 3
    assert all(segment.size_bytes <= CONFIG.segment_bytes for segment in stage.log.segments())
    assert len(stage.records()) == 8


def test_so_many_segments_are_swapped_at_once_and_no_more(stage: Stage) -> None:
    for number in range(GROUP_SEGMENTS_MAX + 10):
        stage.append((b"a", b"%d" % number))
        stage.close_segment()
    groups: list[int] = []
    stage.compact(before_swap=lambda group: groups.append(len(group.replaced)))
    assert groups == [GROUP_SEGMENTS_MAX, 10]
    assert [offset for offset, _, _ in stage.records()] == [GROUP_SEGMENTS_MAX + 9]


def test_a_second_compaction_of_a_clean_log_changes_no_file(stage: Stage) -> None:
    for number in range(20):
        stage.append((b"%d" % (number % 5), bytes(200)))
    stage.close_segment()
    stage.compact()
    before = len(stage.disk.journal)
    result = stage.compact()
    assert result is not None
    assert result.bytes_before == result.bytes_after
    moves = [change for change in stage.disk.journal[before:] if type(change).__name__ == "Move"]
    assert [change for change in moves if ".log" in str(change)] == []


def test_segments_end_where_the_next_one_begins_even_if_their_last_records_went(stage: Stage) -> None:
    stage.append((b"a", b"1"), (b"b", b"1"))
    stage.append((b"b", b"2"))
    stage.close_segment()
    stage.append((b"b", b"3"))
    stage.close_segment()
    stage.config = with_config(segment_bytes=120)
    stage.log.config = stage.config
    stage.compact()
    infos = stage.log.segments()
    assert [(info.base_offset, info.end_offset) for info in infos] == [(0, 3), (3, 4), (4, 4)]
    assert stage.records() == [(0, b"a", b"1"), (3, b"b", b"3")]
    stage.restart(clean=False)
    assert stage.records() == [(0, b"a", b"1"), (3, b"b", b"3")]


def test_a_batch_that_loses_nothing_keeps_every_byte(stage: Stage) -> None:
    stage.append((b"a", b"1"), (b"b", b"1"), compression="gzip")
    stage.append((b"c", b"1"))
    stage.append((b"c", b"2"))
    before = stage._batches()[0]
    stage.close_segment()
    stage.compact()
    assert stage._batches()[0] == before


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_batch_that_loses_records_keeps_its_codec_and_its_offsets(stage: Stage, codec: str) -> None:
    value = b"the same words again " * 5
    stage.append(*((b"%d" % number, value) for number in range(10)), compression=codec)
    stage.append((b"3", b"new"))
    stage.close_segment()
    stage.compact()
    header, whole = stage._batches()[0]
    assert header.compression == ("none", "gzip", "snappy", "lz4", "zstd").index(codec)
    assert (header.base_offset, header.last_offset, header.record_count) == (0, 9, 9)
    records = list(iter_records(whole))
    assert [record.offset for record in records] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert {record.value for record in records} == {value}
    assert {record.timestamp for record in records} == {stage.clock.wall_ms()}


# Tombstones ------------------------------------------------------------------------------------------


def test_a_tombstone_stays_for_its_retention_and_goes_with_the_next_compaction_behind_it(stage: Stage) -> None:
    stage.append((b"a", b"1"))
    stage.append((b"a", None), (b"b", b"1"))
    stage.close_segment()
    stage.compact()
    assert stage.records() == [(1, b"a", None), (2, b"b", b"1")]
    stage.clock.advance(CONFIG.delete_retention_ms - 1)
    stage.compact()
    assert stage.records() == [(1, b"a", None), (2, b"b", b"1")]
    stage.clock.advance(1)
    stage.compact()
    assert stage.records() == [(2, b"b", b"1")]


def test_a_delete_horizon_is_set_once_and_leaves_timestamps_alone(stage: Stage) -> None:
    stage.append((b"a", None), (b"b", b"1"))
    written = stage.clock.wall_ms()
    stage.close_segment()
    stage.clock.advance(500)
    stage.compact()
    first, whole = stage._batches()[0]
    assert first.attributes & DELETE_HORIZON
    assert first.base_timestamp == written + 500 + CONFIG.delete_retention_ms
    assert [record.timestamp for record in iter_records(whole)] == [written, written]
    assert first.max_timestamp == written
    stage.clock.advance(100)
    stage.append((b"c", b"1"))
    stage.close_segment()
    stage.compact()
    assert stage.headers()[0].base_timestamp == first.base_timestamp


def test_a_deleted_key_never_comes_back(stage: Stage) -> None:
    """The value and its tombstone lie in different segments; the value must be gone first."""
    stage.append((b"a", bytes(1_500)))
    stage.close_segment()
    stage.append((b"a", None))
    stage.append((b"b", bytes(1_500)))
    stage.close_segment()
    stage.compact()
    stage.clock.advance(CONFIG.delete_retention_ms + 1)

    def refuse(group: object) -> None:
        raise RuntimeError("the broker refuses")

    stage.append((b"c", b"1"))
    stage.close_segment()
    with pytest.raises(RuntimeError):
        stage.compact(before_swap=refuse)
    assert stage.table() == {b"b": bytes(1_500), b"c": b"1"}
    stage.compact()
    assert stage.table() == {b"b": bytes(1_500), b"c": b"1"}
    assert all(key != b"a" for _, key, _ in stage.records())


# A small map -----------------------------------------------------------------------------------------


def test_more_keys_than_the_map_holds_take_several_passes(stage: Stage) -> None:
    for round_ in range(3):
        for key in range(60):
            stage.append((b"key %d" % key, b"%d" % round_))
    stage.close_segment()
    planned = stage.planned()
    assert planned is not None
    first = stage.one_pass(planned, small_map(20))
    assert not first.is_complete
    assert 0 < first.first_dirty_offset < 60
    stage.compact(small_map(20))
    assert stage.records() == [(120 + key, b"key %d" % key, b"2") for key in range(60)]
    assert stage.log.first_dirty_offset == 180


# Producers -------------------------------------------------------------------------------------------


def test_the_last_batch_of_a_known_producer_stays_empty_for_its_sequence(stage: Stage) -> None:
    stage.append((b"a", b"1"), (b"a", b"2"), producer_id=7, producer_epoch=1, base_sequence=40)
    stage.append((b"a", b"3"))
    stage.close_segment()
    stage.compact()
    header = stage.headers()[0]
    assert (header.producer_id, header.producer_epoch, header.last_sequence, header.record_count) == (7, 1, 41, 0)
    assert (header.base_offset, header.last_offset) == (0, 1)
    stage.log._snapshots.keep_only(set())
    stage.restart(clean=False)
    (known,) = stage.log.producer_state.producers()
    assert (known.producer_id, known.last_sequence) == (7, 41)


def test_the_batch_of_a_forgotten_producer_goes(stage: Stage) -> None:
    stage.append((b"a", b"1"), producer_id=7, producer_epoch=1, base_sequence=0)
    stage.append((b"a", b"3"))
    stage.close_segment()
    stage.compact(producers={})
    assert [header.producer_id for header in stage.headers()] == [-1]


# Transactions ----------------------------------------------------------------------------------------


def transactional(stage: Stage, producer_id: int, sequence: int, *pairs: tuple[bytes, bytes | None]) -> int:
    return stage.append(
        *pairs, producer_id=producer_id, producer_epoch=0, base_sequence=sequence, is_transactional=True
    )


def test_aborted_records_go_and_hide_nothing(stage: Stage) -> None:
    stage.append((b"a", b"committed"))
    transactional(stage, 7, 0, (b"a", b"aborted"), (b"b", b"aborted"))
    stage.marker(7, commit=False)
    stage.append((b"c", b"1"))
    stage.close_segment()
    stage.compact(producers={})
    assert stage.table() == {b"a": b"committed", b"c": b"1"}


def test_committed_records_count_like_any_others(stage: Stage) -> None:
    stage.append((b"a", b"old"))
    transactional(stage, 7, 0, (b"a", b"new"))
    stage.marker(7, commit=True)
    stage.close_segment()
    stage.compact(producers={})
    assert stage.records() == [(1, b"a", b"new")]


@pytest.mark.parametrize("commit", [True, False])
def test_a_marker_goes_when_nothing_of_its_transaction_is_left_and_its_horizon_has_passed(
    stage: Stage, commit: bool
) -> None:
    transactional(stage, 7, 0, (b"a", b"1"))
    stage.marker(7, commit=commit)
    stage.append((b"a", b"2"))
    stage.close_segment()
    stage.compact(producers={})
    assert stage.markers() == [1], "its data was met in this pass"
    stage.append((b"x", b"1"))
    stage.close_segment()
    stage.compact(producers={})
    assert stage.markers() == [1], "it has a delete horizon now"
    stage.clock.advance(CONFIG.delete_retention_ms + 1)
    stage.compact(producers={})
    assert stage.markers() == []
    assert stage.table() == {b"a": b"2", b"x": b"1"}


def test_the_marker_of_a_producer_without_other_batches_stays_empty(stage: Stage) -> None:
    transactional(stage, 7, 0, (b"a", b"1"))
    stage.marker(7, commit=True, epoch=1)
    stage.append((b"a", b"2"))
    stage.close_segment()
    tails = {7: ProducerTail(1, -1)}
    stage.compact(producers=tails)
    stage.compact(producers=tails)
    stage.clock.advance(CONFIG.delete_retention_ms + 1)
    stage.compact(producers=tails)
    (control,) = [header for header in stage.headers() if header.is_control]
    assert (control.base_offset, control.producer_epoch, control.record_count) == (1, 1, 0)


def test_a_transaction_that_ends_behind_the_reach_is_left_for_later(stage: Stage) -> None:
    """Whether it is aborted is not known yet: taking its records for committed would hide committed ones."""
    stage.append((b"a", b"committed"))
    transactional(stage, 7, 0, (b"a", b"aborted later"))
    stage.close_segment()
    stage.marker(7, commit=False)
    stage.compact(producers={})
    assert stage.records() == [(0, b"a", b"committed"), (1, b"a", b"aborted later")]
    assert stage.log.first_dirty_offset == 1
    stage.close_segment()
    stage.compact(producers={})
    assert stage.records() == [(0, b"a", b"committed")]


# Files -----------------------------------------------------------------------------------------------


def test_indexes_find_every_offset_and_every_time(stage: Stage) -> None:
    for number in range(40):
        stage.append((b"%d" % (number % 7), bytes(100)))
        stage.clock.advance(10)
    stage.close_segment()
    stage.compact()
    kept = [offset for offset, _, _ in stage.records()]
    for offset in range(40):
        following = next((one for one in kept if one >= offset), None)
        buffers = stage.log.read(offset, 1, upto_offset=stage.log.log_end_offset)
        found = [record.offset for buffer in buffers for record in iter_records(buffer) if record.offset >= offset]
        assert following is None or found == [] or found[0] == following
    written = 1_700_000_000_000
    found = stage.log.offset_for_timestamp(written)
    assert found is not None
    assert found.offset == kept[0]
    newest = stage.log.max_timestamp()
    assert newest is not None
    assert (newest.offset, newest.timestamp) == (39, written + 390)


def test_times_are_those_of_records_that_are_still_there(stage: Stage) -> None:
    """The newest time was that of a batch that stays, empty, for its producer; another batch has a delete horizon."""
    began = stage.clock.wall_ms()
    stage.append((b"a", None), (b"b", b"1"))
    stage.clock.advance(1_000)
    stage.append((b"c", b"1"), producer_id=7, producer_epoch=0, base_sequence=0)
    stage.clock.advance(-500)
    stage.append((b"c", b"2"))
    stage.close_segment()
    stage.compact()
    assert [header.record_count for header in stage.headers()] == [2, 0, 1]
    newest = stage.log.max_timestamp()
    assert newest is not None
    assert (newest.offset, newest.timestamp) == (3, began + 500)
    found = stage.log.offset_for_timestamp(began + 1)
    assert found is not None
    assert (found.offset, found.timestamp) == (3, began + 500)
    assert stage.log.offset_for_timestamp(began + 600) is None
    assert [stage.log.timestamp_at(offset) for offset in range(4)] == [began, began, began + 500, began + 500]


def test_a_time_names_an_offset_that_exists_under_log_append_time(stage: Stage) -> None:
    stage.config = stage.log.config = with_config(message_timestamp_type="LogAppendTime")
    stage.append((b"a", b"1"), (b"b", b"1"))
    stage.append((b"a", b"2"))
    stage.close_segment()
    stage.compact()
    found = stage.log.offset_for_timestamp(stage.clock.wall_ms())
    assert found is not None
    assert found.offset == 1


def test_old_files_are_gone_and_nothing_else_is_left(stage: Stage) -> None:
    for number in range(20):
        stage.append((b"a", b"%d" % number))
        stage.close_segment()
    stage.compact()
    assert any(name.endswith(".deleted") for name in stage.file_names())
    stage.log_dir.purge_due(stage.clock.wall_ms())
    assert [name for name in stage.file_names() if name.endswith(".log")] == [
        "00000000000000000000.log",
        "00000000000000000020.log",
    ]
    assert not [name for name in stage.file_names() if name.endswith((".deleted", ".swap", ".cleaned"))]


def test_a_log_that_was_compacted_once_opens_under_any_policy(stage: Stage) -> None:
    for number in range(20):
        stage.append((b"%d" % (number % 2), b"%d" % number))
    stage.close_segment()
    stage.compact()
    stage.config = with_config(cleanup_policy=frozenset(("delete",)))
    for clean in (True, False):
        stage.restart(clean=clean)
        assert [offset for offset, _, _ in stage.records()] == [18, 19]


def test_a_damaged_segment_changes_nothing(stage: Stage) -> None:
    for number in range(30):
        stage.append((b"a", b"%d" % number))
        if number % 10 == 9:
            stage.close_segment()
    path = f"{stage.log.directory}/{20:020d}.log"
    content = bytearray(stage.disk.read_file(path) or b"")
    content[-1] ^= 1
    stage.disk.write_file(path, content)
    before = stage.file_names()
    with pytest.raises(Exception, match="CRC"):
        stage.compact()
    assert stage.file_names() == before
    assert stage.log.segment_count == 4


def test_a_truncation_makes_what_was_clean_dirty_again(stage: Stage) -> None:
    for number in range(20):
        stage.append((b"%d" % (number % 4), b"%d" % number))
        if number % 5 == 4:
            stage.close_segment()
    stage.compact()
    assert stage.log.first_dirty_offset == 20
    stage.log.truncate_to(17)
    assert stage.log.log_end_offset == 17
    assert stage.log.first_dirty_offset == 17
    stage.restart(clean=False)
    assert stage.log.first_dirty_offset == 17


def test_a_truncation_into_a_gap_ends_the_log_where_a_batch_ends(stage: Stage) -> None:
    for number in range(10):
        stage.append((b"a", b"%d" % number))
    stage.close_segment()
    stage.compact()
    stage.append((b"b", b"1"))
    stage.log.truncate_to(5)
    assert (stage.log.log_end_offset, stage.records()) == (0, [])
    stage.restart(clean=False)
    assert stage.log.log_end_offset == 0


def test_the_topic_is_new_when_it_is_made_again(stage: Stage) -> None:
    stage.append((b"a", b"1"))
    stage.append((b"a", b"2"))
    stage.close_segment()
    stage.compact()
    stage.log_dir.delete_log(PARTITION)
    assert stage.log_dir.create_log(PARTITION, TOPIC_ID, CONFIG).first_dirty_offset is None


def test_the_index_of_aborted_transactions_names_the_markers_that_stay(stage: Stage) -> None:
    transactional(stage, 7, 0, (b"a", b"1"))
    stage.marker(7, commit=False)
    stage.append((b"b", b"1"))
    stage.close_segment()
    transactional(stage, 8, 0, (b"c", b"1"))
    stage.marker(8, commit=False)
    stage.append((b"d", b"1"))
    stage.close_segment()
    stage.compact(producers={})
    names = [name for name in stage.file_names() if name.endswith(".txnindex")]
    assert names == ["00000000000000000000.txnindex"], "two segments became one"
    content = stage.disk.read_file(f"{stage.log.directory}/{names[0]}") or b""
    assert [entry[:3] for entry in decode_entries(content, 0)] == [(7, 0, 1), (8, 3, 4)]
    stage.clock.advance(CONFIG.delete_retention_ms + 1)
    stage.compact(producers={})
    stage.clock.advance(CONFIG.delete_retention_ms + 1)
    stage.compact(producers={})
    assert stage.markers() == []
    assert stage.disk.read_file(f"{stage.log.directory}/{names[0]}") in (None, b"")
    stage.restart(clean=False)
    assert stage.table() == {b"b": b"1", b"d": b"1"}


# What readers are shown ------------------------------------------------------------------------------


def test_a_log_never_ends_with_what_compaction_has_emptied(stage: Stage) -> None:
    """Behind its last batch there may be nothing for long, and a reader has to arrive there."""
    stage.append((b"a", b"1"))
    stage.append((None, b"without a key"))
    stage.close_segment()
    stage.compact()
    assert stage.headers()[-1].record_count == 1
    stage.append((b"b", b"1"))
    stage.close_segment()
    stage.compact()
    assert stage.records() == [(0, b"a", b"1"), (2, b"b", b"1")]


def test_a_read_skips_emptied_batches_unless_it_makes_a_copy(stage: Stage) -> None:
    for number in range(6):
        stage.append((b"a", b"%d" % number), producer_id=number, producer_epoch=0, base_sequence=0)
        stage.close_segment()
    stage.compact()
    assert [header.record_count for header in stage.headers()] == [0, 0, 0, 0, 0, 1]

    def read(offset: int, upto: int, max_bytes: int, **how: bool) -> list[int]:
        buffers = stage.log.read(offset, max_bytes, upto_offset=upto, **how)
        return [header.base_offset for buffer in buffers for _, header in scan_batches(buffer)]

    assert read(0, 6, 1) == [5], "the first batch with a record, however small the reader's buffer"
    assert read(3, 6, 1_000) == [3, 4, 5], "with others they may come"
    assert read(0, 4, 1_000) == []
    assert read(0, 4, 1_000, empty_alone=True) == [0, 1, 2, 3]


def test_what_lies_behind_the_keys_that_fitted_stays_within_the_same_batch() -> None:
    whole = build_batch([Record(timestamp=1, key=key, value=value) for key, value in MIXED])
    header = read_header(whole)
    offsets = OffsetMap(1_000)
    offsets.put(b"a", 0)
    offsets.latest_offset = 0
    cleaner = BatchCleaner(
        offsets,
        TransactionFilter(()),
        end_offset=1,
        now_ms=10,
        delete_retention_ms=0,
        producers={},
        counts=CleaningCounts(),
    )
    kept = cleaner.clean(header, whole, None)
    assert [(record.offset, record.key) for record in iter_records(kept)] == [(0, b"a"), (1, None), (2, b"b")]


MIXED = [(b"a", b"1"), (None, b"2"), (b"b", b"3")]
