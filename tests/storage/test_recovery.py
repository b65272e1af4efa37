"""What is found on disk after any kind of stop, and what becomes of it."""

from __future__ import annotations

import pytest

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.log_dir_opening import LogDirUnusable
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.support import (
    PARTITION,
    PATH,
    SMALL_SEGMENTS,
    TOPIC_ID,
    append,
    batch,
    flush,
    offsets,
    open_log_dir,
    read_all,
)

DIRECTORY = f"{PATH}/{PARTITION}"


def segment_file(base_offset: int, suffix: str = ".log") -> str:
    return f"{DIRECTORY}/{base_offset:020d}{suffix}"


def filled(disk: MemoryFileSystem, *, batches: int = 60, config: TopicConfig = SMALL_SEGMENTS) -> LogDir:
    """A log dir whose one log has several segments, all flushed, the recovery point saved."""
    log_dir = open_log_dir(disk, config=config)
    log = log_dir.create_log(PARTITION, TOPIC_ID, config)
    for number in range(batches):
        append(log, b"%03d" % number, leader_epoch=number // 20)
    flush(log)
    log_dir.checkpoint()
    return log_dir


def reopened(disk: MemoryFileSystem, config: TopicConfig = SMALL_SEGMENTS) -> LogDir:
    return open_log_dir(disk, config=config)


def flip(disk: MemoryFileSystem, path: str, position: int) -> None:
    content = bytearray(disk.read_file(path) or b"")
    content[position] ^= 0x10
    disk.write_file(path, content)


def data_files(disk: MemoryFileSystem) -> dict[str, bytes | None]:
    """The segment files of the partition as they are."""
    names = sorted(name for name in disk.list_directory(DIRECTORY) if ".log" in name)
    return {name: disk.read_file(f"{DIRECTORY}/{name}") for name in names}


def log_of(log_dir: LogDir) -> Log:
    assert not log_dir.offline, log_dir.offline
    return log_dir.logs[PARTITION]


# Torn tails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tail",
    [
        b"\x00",
        bytes(500),
        b"\xff" * 100,
        bytes(batch(b"half a batch"))[:40],
        bytes(batch(b"x" * 100))[:-1],
        b"\x00" * 8 + b"\x7f\xff\xff\xff" + bytes(200),
        b"\x00" * 8 + b"\x80\x00\x00\x00" + bytes(200),
    ],
)
def test_a_torn_tail_is_cut(tail: bytes) -> None:
    disk = MemoryFileSystem()
    log_dir = filled(disk, batches=5)
    log_dir.close(clean=False)
    whole = disk.read_file(segment_file(0)) or b""
    disk.write_file(segment_file(0), whole + tail)

    log = log_of(reopened(disk))

    assert log.log_end_offset == 5
    assert disk.read_file(segment_file(0)) == whole
    assert append(log, b"next").base_offset == 5
    assert offsets(read_all(log)) == list(range(6))


@pytest.mark.parametrize("tail", [bytes(500), bytes(batch(b"half"))[:40], bytes(batch(b"x" * 100))[:-1]])
def test_a_plainly_torn_write_is_not_kept(tail: bytes) -> None:
    disk = MemoryFileSystem()
    filled(disk, batches=5).close(clean=False)
    disk.write_file(segment_file(0), (disk.read_file(segment_file(0)) or b"") + tail)

    reopened(disk)

    assert disk.status(f"{PATH}/stray") is None


def test_a_bit_flip_past_the_recovery_point_is_cut_and_what_was_behind_it_is_kept_aside() -> None:
    disk = MemoryFileSystem()
    config = TopicConfig(max_message_bytes=200)
    log_dir = filled(disk, batches=5, config=config)
    log = log_of(log_dir)
    for _ in range(20):
        append(log, b"not flushed")
    log_dir.close(clean=False)
    whole = disk.read_file(segment_file(0)) or b""
    size = len(batch(b"000"))
    flip(disk, segment_file(0), 5 * size + 70)

    again = reopened(disk, config)

    assert log_of(again).log_end_offset == 5
    [kept] = [name for name in disk.list_directory(f"{PATH}/stray") if name.endswith(".cut")]
    assert len(disk.read_file(f"{PATH}/stray/{kept}") or b"") == len(whole) - 5 * size
    assert any("cut" in note for note in again.notes)


def test_segments_behind_a_hole_are_set_aside_not_deleted() -> None:
    disk = MemoryFileSystem()
    log_dir = filled(disk, batches=5)
    log = log_of(log_dir)
    for number in range(60):
        append(log, b"unflushed %d" % number)
    bases = [segment.base_offset for segment in log.segments()]
    log_dir.close(clean=False)
    last = disk.read_file(segment_file(bases[-1]))
    content = disk.read_file(segment_file(bases[1])) or b""
    disk.write_file(segment_file(bases[1]), content[:-10])

    again = log_of(reopened(disk))

    assert bases[1] < again.log_end_offset < bases[2]
    assert offsets(read_all(again)) == list(range(again.log_end_offset))
    assert disk.read_file(f"{PATH}/stray/{PARTITION}.{bases[-1]:020d}.log") == last


# Damage below the recovery point -----------------------------------------------------------------------


def damage_bit_in_last_segment(disk: MemoryFileSystem, bases: list[int]) -> None:
    flip(disk, segment_file(bases[-1]), 80)


def damage_shorter_last_segment(disk: MemoryFileSystem, bases: list[int]) -> None:
    content = disk.read_file(segment_file(bases[-1])) or b""
    disk.write_file(segment_file(bases[-1]), content[:-1])


def damage_shorter_middle_segment(disk: MemoryFileSystem, bases: list[int]) -> None:
    content = disk.read_file(segment_file(bases[1])) or b""
    disk.write_file(segment_file(bases[1]), content[:-1])


def damage_empty_middle_segment(disk: MemoryFileSystem, bases: list[int]) -> None:
    disk.write_file(segment_file(bases[1]), b"")


def damage_first_segment_missing(disk: MemoryFileSystem, bases: list[int]) -> None:
    disk.unlink(segment_file(bases[0]))


def damage_middle_segment_missing(disk: MemoryFileSystem, bases: list[int]) -> None:
    disk.unlink(segment_file(bases[1]))


def damage_last_segment_missing(disk: MemoryFileSystem, bases: list[int]) -> None:
    disk.unlink(segment_file(bases[-1]))


def damage_every_segment_missing(disk: MemoryFileSystem, bases: list[int]) -> None:
    for base in bases:
        disk.unlink(segment_file(base))


DAMAGES = [
    damage_bit_in_last_segment,
    damage_shorter_last_segment,
    damage_shorter_middle_segment,
    damage_empty_middle_segment,
    damage_first_segment_missing,
    damage_middle_segment_missing,
    damage_last_segment_missing,
    damage_every_segment_missing,
]


@pytest.mark.parametrize(
    ("damage", "clean"),
    # After a clean stop nothing is scanned, so a flipped bit is found by the first read instead.
    [
        (damage, clean)
        for damage in DAMAGES
        for clean in (True, False)
        if not (clean and damage is damage_bit_in_last_segment)
    ],
)
def test_damage_below_the_recovery_point_takes_the_partition_offline_and_deletes_nothing(damage, clean: bool) -> None:
    disk = MemoryFileSystem()
    log_dir = filled(disk)
    bases = [segment.base_offset for segment in log_of(log_dir).segments()]
    log_dir.close(clean=clean)
    damage(disk, bases)
    found = data_files(disk)

    again = reopened(disk)

    assert PARTITION not in again.logs
    assert "durable" in again.offline[PARTITION] or "missing" in again.offline[PARTITION]
    assert data_files(disk) == found
    with pytest.raises(KafkaError) as refused:
        again.create_log(PARTITION, TOPIC_ID, SMALL_SEGMENTS)
    assert refused.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    again.close(clean=True)
    assert PARTITION in reopened(disk).offline, "a clean stop in between does not make it well"
    assert data_files(disk) == found


def test_an_offline_partition_comes_back_when_its_file_is_restored() -> None:
    disk = MemoryFileSystem()
    filled(disk).close(clean=False)
    good = disk.read_file(segment_file(0)) or b""
    disk.write_file(segment_file(0), good[:-1])
    reopened(disk).close(clean=True)
    disk.write_file(segment_file(0), good)

    assert log_of(reopened(disk)).log_end_offset == 60


@pytest.mark.parametrize("segment", [0, 1, -1])
@pytest.mark.parametrize("position", [5, 9, 16, 22, 60, 70, 75, 100])
@pytest.mark.parametrize("max_bytes", [1, 1 << 20])
def test_a_bit_that_flipped_while_stopped_is_found_by_the_first_read(
    segment: int, position: int, max_bytes: int
) -> None:
    disk = MemoryFileSystem()
    log_dir = filled(disk)
    bases = [found.base_offset for found in log_of(log_dir).segments()]
    log_dir.close(clean=True)
    flip(disk, segment_file(bases[segment]), position)
    found = data_files(disk)

    again = reopened(disk)
    log = log_of(again)
    with pytest.raises(KafkaError) as refused:
        read_all(log, max_bytes=max_bytes)

    assert refused.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert "byte" in again.offline[PARTITION]
    with pytest.raises(KafkaError):
        append(log, b"no more")
    assert data_files(disk) == found
    again.close(clean=True)
    assert disk.read_file(f"{PATH}/.kafka_cleanshutdown") is None


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("position", range(8))
def test_a_changed_base_offset_of_the_last_batch_is_found_although_no_crc_covers_it(position: int, clean: bool) -> None:
    disk = MemoryFileSystem()
    config = TopicConfig()
    log_dir = filled(disk, batches=5, config=config)
    log_dir.close(clean=clean)
    flip(disk, segment_file(0), 4 * len(batch(b"000")) + position)

    assert "not the one that follows" in reopened(disk, config).offline[PARTITION]


def test_epochs_that_contradict_the_batches_of_the_last_segment_give_way() -> None:
    disk = MemoryFileSystem()
    config = TopicConfig()
    log_dir = filled(disk, config=config)
    log_dir.close(clean=False)
    disk.write_file(f"{DIRECTORY}/leader-epoch-checkpoint", b"0\n2\n0 0\n7 10\n")

    assert log_of(reopened(disk, config)).epochs() == [(0, 0), (1, 20), (2, 40)]


# Shortcuts ---------------------------------------------------------------------------------------------


def missing(disk: MemoryFileSystem, path: str) -> None:
    disk.unlink(path)


def empty(disk: MemoryFileSystem, path: str) -> None:
    disk.write_file(path, b"")


def short(disk: MemoryFileSystem, path: str) -> None:
    disk.write_file(path, (disk.read_file(path) or b"")[:-5])


def noise(disk: MemoryFileSystem, path: str) -> None:
    content = disk.read_file(path) or b""
    disk.write_file(path, bytes((byte * 7 + 13) % 256 for byte in range(len(content))))


def shifted(disk: MemoryFileSystem, path: str) -> None:
    """Plausible at first sight: every number is a little off."""
    content = bytearray(disk.read_file(path) or b"")
    for index in range(3, len(content), 4):
        content[index] = (content[index] + 1) % 256
    disk.write_file(path, content)


@pytest.mark.parametrize("spoil", [missing, empty, short, noise, shifted])
@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("clean", [True, False])
def test_spoilt_indexes_are_rebuilt(spoil, suffix: str, clean: bool) -> None:
    disk = MemoryFileSystem()
    log_dir = filled(disk)
    bases = [segment.base_offset for segment in log_of(log_dir).segments()]
    log_dir.close(clean=clean)
    for base in bases:
        spoil(disk, segment_file(base, suffix))

    log = log_of(reopened(disk))

    assert offsets(read_all(log, max_bytes=100)) == list(range(60))
    for offset in range(60):
        assert offsets(read_all(log, offset, max_bytes=100)) == list(range(offset, 60))


@pytest.mark.parametrize("spoil", [missing, empty, short, noise])
@pytest.mark.parametrize("clean", [True, False])
def test_a_spoilt_epoch_file_is_rebuilt_from_the_batches(spoil, clean: bool) -> None:
    disk = MemoryFileSystem()
    filled(disk).close(clean=clean)
    spoil(disk, f"{DIRECTORY}/leader-epoch-checkpoint")

    assert log_of(reopened(disk)).epochs() == [(0, 0), (1, 20), (2, 40)]
    assert disk.read_file(f"{DIRECTORY}/leader-epoch-checkpoint") == b"0\n3\n0 0\n1 20\n2 40\n"


@pytest.mark.parametrize("spoil", [missing, empty, short, noise])
@pytest.mark.parametrize("clean", [True, False])
def test_spoilt_producer_snapshots_are_rebuilt_from_the_batches(spoil, clean: bool) -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk, config=SMALL_SEGMENTS)
    log = log_dir.create_log(PARTITION, TOPIC_ID, SMALL_SEGMENTS)
    for sequence in range(60):
        append(log, b"x", producer_id=1, producer_epoch=0, base_sequence=sequence)
    flush(log)
    log_dir.close(clean=clean)
    snapshots = [name for name in disk.list_directory(DIRECTORY) if name.endswith(".snapshot")]
    for name in snapshots:
        spoil(disk, f"{DIRECTORY}/{name}")

    again = log_of(reopened(disk))

    assert snapshots
    assert [producer.last_sequence for producer in again.producer_state.producers()] == [59]
    assert append(again, b"x", producer_id=1, producer_epoch=0, base_sequence=59).duplicate


@pytest.mark.parametrize("clean", [True, False])
def test_duplicates_of_the_last_five_batches_are_recognised_after_a_restart(clean: bool) -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, SMALL_SEGMENTS)
    for sequence in range(10):
        append(log, b"%d" % sequence, producer_id=1, producer_epoch=0, base_sequence=sequence)
    log_dir.close(clean=clean)

    again = log_of(reopened(disk))

    for sequence in range(5, 10):
        result = append(again, b"%d" % sequence, producer_id=1, producer_epoch=0, base_sequence=sequence)
        assert (result.duplicate, result.base_offset) == (True, sequence)


@pytest.mark.parametrize("clean", [True, False])
def test_they_are_recognised_also_where_a_segment_has_just_begun(clean: bool) -> None:
    begun = set()
    for count in range(50, 80):
        disk = MemoryFileSystem()
        log_dir = open_log_dir(disk, config=SMALL_SEGMENTS)
        log = log_dir.create_log(PARTITION, TOPIC_ID, SMALL_SEGMENTS)
        for sequence in range(count):
            append(log, b"%d" % sequence, producer_id=1, producer_epoch=0, base_sequence=sequence)
        flush(log)
        begun.add(count - log.segments()[-1].base_offset)
        log_dir.close(clean=clean)

        again = log_of(reopened(disk, config=SMALL_SEGMENTS))

        for sequence in range(count - 5, count):
            result = append(again, b"%d" % sequence, producer_id=1, producer_epoch=0, base_sequence=sequence)
            assert (result.duplicate, result.base_offset) == (True, sequence)
    assert min(begun) == 1, "a segment with a single batch was among them"


def test_a_clean_stop_means_no_byte_of_the_log_is_scanned() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, TopicConfig())
    for _ in range(10):
        append(log, b"x" * 10_000)
    log_dir.close(clean=True)
    read: list[int] = []
    real = disk.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        read.append(size)
        return real(fd, size, offset)

    disk.pread = counting  # type: ignore[method-assign]
    assert log_of(reopened(disk)).log_end_offset == 10
    assert sum(read) < 20_000


def test_leftovers_of_unfinished_work_go() -> None:
    disk = MemoryFileSystem()
    filled(disk).close(clean=False)
    for name in ("00000000000000000007.log.deleted", "leader-epoch-checkpoint.tmp", "00000000000000000009.index"):
        disk.write_file(f"{DIRECTORY}/{name}", b"left over")

    log_of(reopened(disk))

    names = disk.list_directory(DIRECTORY)
    assert not [name for name in names if name.endswith((".deleted", ".tmp"))]
    assert "00000000000000000009.index" not in names


def test_a_log_lost_behind_deleted_records_starts_over_where_they_ended() -> None:
    disk = MemoryFileSystem()
    log_dir = open_log_dir(disk)
    log = log_dir.create_log(PARTITION, TOPIC_ID, SMALL_SEGMENTS)
    for _ in range(5):
        append(log, b"never flushed")
    log.advance_log_start(4)
    log_dir.close(clean=False)
    disk.write_file(segment_file(0), b"")

    again = log_of(reopened(disk))

    assert (again.log_start_offset, again.log_end_offset) == (4, 4)
    assert append(again, b"next").base_offset == 4


@pytest.mark.parametrize(
    "name", ["recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"]
)
def test_a_checkpoint_that_cannot_be_read_stops_the_start_with_a_reason(name: str) -> None:
    disk = MemoryFileSystem()
    filled(disk).close(clean=True)
    disk.write_file(f"{PATH}/{name}", b"0\n7\norders 0 1\n")

    with pytest.raises(LogDirUnusable, match=name):
        reopened(disk)
