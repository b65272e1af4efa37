"""``preallocate``: a new segment's disk is set aside, without the file looking longer than what is in it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from broker.config.topic import TopicConfig
from broker.storage.filesystem import RealFileSystem
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.support import PARTITION, TOPIC_ID, append, open_log, open_log_dir

RESERVED = 1 << 20
CONFIG = TopicConfig(segment_bytes=RESERVED, preallocate=True)


def disk_bytes(path: Path) -> int:
    return os.stat(path).st_blocks * 512


def can_reserve(directory: Path) -> bool:
    filesystem = RealFileSystem()
    fd = filesystem.open(str(directory / "probe"), create=True)
    try:
        filesystem.reserve(fd, RESERVED)
    except OSError:
        return False
    finally:
        filesystem.close(fd)
    return disk_bytes(directory / "probe") >= RESERVED


def test_a_segment_has_its_disk_from_the_start_and_gives_back_the_rest_when_it_is_closed(tmp_path) -> None:
    assert can_reserve(tmp_path), "the tests' disk must know fallocate"
    log_dir = open_log_dir(RealFileSystem(), path=str(tmp_path / "data"), config=CONFIG)
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    first = Path(log.directory) / f"{0:020d}.log"
    appended = append(log, b"a" * 1_000)
    assert first.stat().st_size == appended.byte_count
    assert disk_bytes(first) >= RESERVED
    append(log, b"b" * (RESERVED - 100))
    assert log.segment_count == 2
    assert first.stat().st_size == appended.byte_count
    assert disk_bytes(first) < RESERVED // 2
    log_dir.close(clean=True)
    reopened = open_log_dir(RealFileSystem(), path=str(tmp_path / "data"), config=CONFIG)
    assert [log.log_end_offset for log in reopened.logs.values()] == [2]
    reopened.close(clean=True)


def test_without_it_nothing_is_set_aside(tmp_path) -> None:
    log_dir = open_log_dir(RealFileSystem(), path=str(tmp_path / "data"))
    log = log_dir.create_log(PARTITION, TOPIC_ID, TopicConfig())
    append(log, b"a")
    assert disk_bytes(Path(log.directory) / f"{0:020d}.log") < RESERVED // 2
    log_dir.close(clean=True)


def test_a_disk_that_has_no_room_to_set_aside_is_written_to_all_the_same() -> None:
    def refuse(operation: str, path: str) -> None:
        if operation == "reserve":
            refused.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")

    filesystem, refused = MemoryFileSystem(), []
    filesystem.fault = refuse
    log = open_log(filesystem, config=CONFIG)
    assert refused
    assert append(log, b"a").last_offset == 0
