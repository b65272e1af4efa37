from __future__ import annotations

import pytest

from broker.storage.memory_filesystem import MemoryFileSystem
from broker.storage.survival import BOOT_FILE, ProcessLife, begin_life, end_doubt


@pytest.fixture
def filesystem() -> MemoryFileSystem:
    made = MemoryFileSystem()
    made.make_directory("/logs")
    return made


def life(boot_id: str, *, flushes: bool) -> ProcessLife:
    return ProcessLife(boot_id=boot_id, flushes=flushes)


@pytest.mark.parametrize(
    ("before", "now", "clean", "survived"),
    [
        (life("a", flushes=False), life("a", flushes=False), False, True),
        (life("a", flushes=False), life("b", flushes=False), False, False),
        (life("a", flushes=False), life("b", flushes=False), True, True),
        (life("a", flushes=True), life("b", flushes=False), False, True),
        (life("a", flushes=False), life("b", flushes=True), False, False),
        (life("", flushes=False), life("", flushes=False), False, False),
    ],
)
def test_data_survives_a_flush_a_clean_stop_or_the_death_of_the_process_alone(
    filesystem: MemoryFileSystem, before: ProcessLife, now: ProcessLife, clean: bool, survived: bool
) -> None:
    assert begin_life(filesystem, "/logs", before, clean=True)
    end_doubt(filesystem, "/logs", before)
    assert begin_life(filesystem, "/logs", now, clean=clean) is survived


def test_a_directory_that_remembers_nothing_is_judged_by_the_present_setting(filesystem: MemoryFileSystem) -> None:
    assert begin_life(filesystem, "/logs", life("a", flushes=True), clean=False)
    filesystem.unlink(f"/logs/{BOOT_FILE}")
    assert not begin_life(filesystem, "/logs", life("a", flushes=False), clean=False)


@pytest.mark.parametrize("clean", [False, True])
def test_a_doubt_outlives_processes_that_could_not_tell_of_it(filesystem: MemoryFileSystem, clean: bool) -> None:
    here = life("b", flushes=False)
    assert begin_life(filesystem, "/logs", life("a", flushes=False), clean=True)
    assert not begin_life(filesystem, "/logs", here, clean=False)
    assert not begin_life(filesystem, "/logs", here, clean=clean)
    end_doubt(filesystem, "/logs", here)
    assert begin_life(filesystem, "/logs", here, clean=False)


def test_a_doubt_is_not_ended_by_a_process_that_flushes(filesystem: MemoryFileSystem) -> None:
    assert begin_life(filesystem, "/logs", life("a", flushes=False), clean=True)
    assert not begin_life(filesystem, "/logs", life("b", flushes=True), clean=False)
    assert not begin_life(filesystem, "/logs", life("b", flushes=True), clean=False)


@pytest.mark.parametrize("content", [b"", b"version=0\nboot.id=a\n", b"version=1\nboot.id=a\nflushes=true\n", b"\xff"])
def test_what_cannot_be_read_proves_nothing(filesystem: MemoryFileSystem, content: bytes) -> None:
    filesystem.replace_file(f"/logs/{BOOT_FILE}", content)
    assert not begin_life(filesystem, "/logs", life("a", flushes=True), clean=False)
