"""The files on disk by the rules of Apache's DumpLogSegments, read here by nothing but ``struct``.

That tool reports an index entry whose batch does not end at the entry's offset, a time index entry whose batch does
not have the entry's timestamp as its maximum, entries out of order, and snapshots with a wrong CRC.
"""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import pytest
from crc32c import crc32c

from broker.config.topic import TopicConfig
from broker.storage.filesystem import RealFileSystem
from tests.storage.support import NOW_MS, PARTITION, TOPIC_ID, append, flush, open_log_dir

CONFIG = TopicConfig(segment_bytes=20_000, index_interval_bytes=500)
Batches = dict[int, tuple[int, int, int]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log")
    choose = random.Random(5)
    log_dir = open_log_dir(RealFileSystem(), path=str(path), config=CONFIG)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    sequence = 0
    for number in range(600):
        count = choose.randint(1, 8)
        append(
            log,
            *[b"%d" % number * choose.randint(1, 20)] * count,
            timestamps=[NOW_MS - 10_000 + number * 5 + choose.randint(0, 200) for _ in range(count)],
            compression=choose.choice(["none", "gzip", "lz4"]),
            leader_epoch=number // 200,
            producer_id=number % 3,
            producer_epoch=number // 3,
            base_sequence=0,
        )
        sequence += count
        if number % 50 == 0:
            flush(log)
            log_dir.checkpoint()
    log_dir.close()
    return path / "orders-0"


def batches_of(file: Path) -> Batches:
    """Position → (base offset, last offset, max timestamp)."""
    data, position, found = file.read_bytes(), 0, {}
    while position < len(data):
        base, length, _, magic, crc, _, delta, _, newest = struct.unpack_from(">qiibIhiqq", data, position)
        assert magic == 2
        assert crc32c(data[position + 21 : position + 12 + length]) == crc
        found[position] = (base, base + delta, newest)
        position += 12 + length
    assert position == len(data)
    return found


def bases(directory: Path, suffix: str) -> list[int]:
    names = sorted(path.name for path in directory.iterdir() if path.suffix == suffix)
    assert all(re.fullmatch(r"\d{20}", name.removesuffix(suffix)) for name in names)
    return [int(name.removesuffix(suffix)) for name in names]


def test_every_segment_has_its_indexes_and_follows_the_one_before(directory: Path) -> None:
    starts = bases(directory, ".log")

    assert len(starts) > 3
    assert bases(directory, ".index") == bases(directory, ".timeindex") == starts
    expected = 0
    for start in starts:
        assert start == expected
        for first, last, _ in batches_of(directory / f"{start:020d}.log").values():
            assert first == expected
            expected = last + 1


def test_offset_index_entries_name_the_end_of_the_batch_at_their_position(directory: Path) -> None:
    for start in bases(directory, ".index"):
        batches = batches_of(directory / f"{start:020d}.log")
        entries = list(struct.iter_unpack(">ii", (directory / f"{start:020d}.index").read_bytes()))
        assert entries == sorted(set(entries))
        for relative, position in entries:
            assert batches[position][1] == start + relative


def test_time_index_entries_name_a_batch_with_that_maximum(directory: Path) -> None:
    for start in bases(directory, ".timeindex"):
        batches = list(batches_of(directory / f"{start:020d}.log").values())
        entries = list(struct.iter_unpack(">qi", (directory / f"{start:020d}.timeindex").read_bytes()))
        assert [time for time, _ in entries] == sorted({time for time, _ in entries})
        for timestamp, relative in entries:
            assert next(newest for _, last, newest in batches if last >= start + relative) == timestamp
        assert entries[-1][0] == max(newest for _, _, newest in batches), "the last entry is the segment's newest"


def test_snapshots_carry_their_crc_and_the_last_batch_of_each_producer(directory: Path) -> None:
    ends = bases(directory, ".snapshot")

    assert set(ends) > set(bases(directory, ".log")[1:])
    for end in ends:
        content = (directory / f"{end:020d}.snapshot").read_bytes()
        version, crc, count = struct.unpack_from(">hIi", content)
        assert (version, crc) == (1, crc32c(content[6:]))
        entries = list(struct.iter_unpack(">qhiqiqiq", content[10:]))
        assert len(entries) == count == 3
        assert all(last_offset < end for _, _, _, last_offset, _, _, _, _ in entries)


def test_the_text_files_are_version_0(directory: Path) -> None:
    epochs = (directory / "leader-epoch-checkpoint").read_text().splitlines()
    metadata = (directory / "partition.metadata").read_text()

    assert epochs[:2] == ["0", "3"]
    assert [line.split()[0] for line in epochs[2:]] == ["0", "1", "2"]
    assert re.fullmatch(r"version: 0\ntopic_id: [A-Za-z0-9_-]{22}", metadata)
