"""A crash at every step of a compaction leaves the old segments or the new one, and every key its value.

Fault matrix: the cleaned file, the renames of the swap, giving up the old segments, the indexes.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

import pytest

from broker.errors import KafkaError
from broker.storage.crash_images import image_after_power_cut, image_after_process_crash, random_image
from broker.storage.memory_filesystem import Change, MemoryFileSystem
from tests.compaction.stage import Stage
from tests.storage.support import append

Table = dict[bytes | None, bytes | None]


def written_stage() -> Stage:
    """Several groups of several segments, aborted data, a tombstone, a producer whose last batch loses its records."""
    stage = Stage()
    stage.append((b"deleted", b"early"))
    stage.append((b"p", b"1"), producer_id=5, producer_epoch=0, base_sequence=0)
    stage.append((b"a", b"aborted"), producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True)
    stage.marker(7, commit=False)
    for number in range(36):
        stage.append((b"k%d" % (number % 12), b"%d" % number * 40))
        if number % 4 == 3:
            stage.close_segment()
    stage.append((b"deleted", None))
    stage.append((b"p", b"2"))
    stage.close_segment()
    stage.append((b"open", b"1"))
    stage.close_segment()
    stage.log_dir.checkpoint()
    return stage


def check(image: MemoryFileSystem, expected: Table, end_offset: int) -> None:
    """Recover as a new broker process would, twice: all values are there, nothing is offline or left lying about."""
    stage = Stage(disk=image)
    assert stage.log.log_end_offset == end_offset
    assert stage.table() == expected
    assert {entry.producer_id: entry.last_sequence for entry in stage.log.producer_state.entries()}[5] == 0
    left = [name for name in stage.file_names() if name.endswith((".cleaned", ".swap", ".deleted", ".tmp"))]
    assert not left
    stage.compact()
    assert stage.table() == expected
    append(stage.log, b"life goes on")
    stage.restart(clean=True)
    assert stage.log.log_end_offset == end_offset + 1


def after_each_change(since: int, stage: Stage) -> list[list[Change]]:
    return [stage.disk.journal[:position] for position in range(since, len(stage.disk.journal) + 1)]


@pytest.fixture(scope="module")
def story() -> tuple[Stage, int, Table]:
    stage = written_stage()
    since, expected = len(stage.disk.journal), stage.table()
    stage.compact()
    stage.log_dir.purge_due(stage.clock.wall_ms() + 1)
    assert stage.table() == expected
    assert stage.log.segment_count < 5
    return stage, since, expected


def test_the_process_may_die_after_every_change(story: tuple[Stage, int, Table]) -> None:
    stage, since, expected = story
    for journal in after_each_change(since, stage):
        check(image_after_process_crash(journal), expected, stage.log.log_end_offset)
        check(image_after_process_crash(journal, tear=7), expected, stage.log.log_end_offset)


def test_the_power_may_fail_after_every_change(story: tuple[Stage, int, Table]) -> None:
    stage, since, expected = story
    for journal in after_each_change(since, stage):
        check(image_after_power_cut(journal), expected, stage.log.log_end_offset)


@pytest.mark.parametrize("seed", range(3))
def test_any_part_of_what_was_not_synced_may_be_lost(story: tuple[Stage, int, Table], seed: int) -> None:
    stage, since, expected = story
    choose = random.Random(seed)
    for journal in after_each_change(since, stage)[:: 1 + seed]:
        check(random_image(journal, choose), expected, stage.log.log_end_offset)


def test_a_start_that_dies_while_it_completes_a_swap_is_no_worse(story: tuple[Stage, int, Table]) -> None:
    stage, since, expected = story
    choose = random.Random(1)
    for journal in after_each_change(since, stage)[::5]:
        disk = image_after_process_crash(journal)
        while True:
            budget = choose.randint(1, 12)
            disk.fault = fail_after(budget)
            try:
                Stage(disk=disk)
                break
            except (OSError, AssertionError):
                disk.fault = None
                disk = copied(disk)
            if choose.random() < 0.2:
                break
        disk.fault = None
        check(copied(disk), expected, stage.log.log_end_offset)


def copied(disk: MemoryFileSystem) -> MemoryFileSystem:
    """The same files for another process: locks and descriptors of the dead one are gone."""
    fresh = MemoryFileSystem(disk.root)
    for node in fresh._walk(fresh.root):
        if hasattr(node, "locked"):
            node.locked = False
    return fresh


def fail_after(budget: int) -> Callable[[str, str], None]:
    left = budget

    def fault(operation: str, path: str) -> None:
        nonlocal left
        if operation in ("unlink", "rename", "sync"):
            left -= 1
            if left < 0:
                raise OSError(errno.EIO, "killed", path)

    return fault


@pytest.mark.parametrize("number", range(40))
def test_a_disk_that_fails_in_the_middle_of_a_swap_loses_nothing(number: int) -> None:
    stage = written_stage()
    expected, end_offset = stage.table(), stage.log.log_end_offset
    stage.disk.fault = fail_after(number)
    try:
        stage.compact()
    except (OSError, KafkaError, AssertionError):
        pass
    stage.disk.fault = None
    if stage.log.offline_reason is None and stage.log_dir.failed_reason is None:
        assert stage.table() == expected
    check(copied(stage.disk), expected, end_offset)
