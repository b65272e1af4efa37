"""The order of changes that makes a swap safe: what is durable before what."""

from __future__ import annotations

import pytest

from broker.storage.cleaned_segment import CleanedSegment, check_cleaned
from broker.storage.memory_filesystem import Link, MemoryFileSystem, Move, SyncDirectory, SyncFile
from broker.storage.segment_scan import DamageFound
from broker.storage.segment_swap import finish_interrupted
from tests.compaction.stage import Stage
from tests.storage.support import batch

DIRECTORY = "/data/t-0"


@pytest.fixture
def disk() -> MemoryFileSystem:
    disk = MemoryFileSystem()
    disk.make_directory(DIRECTORY)
    return disk


def cleaned(disk: MemoryFileSystem, *values: bytes) -> CleanedSegment:
    segment = CleanedSegment(disk, DIRECTORY, 0, "ab", index_interval_bytes=10, buffer_bytes=50)
    for offset, value in enumerate(values):
        segment.append(bytes(batch(value, base_offset=offset)))
    return segment


def test_a_finished_segment_is_durable_with_its_indexes_and_names(disk: MemoryFileSystem) -> None:
    facts = cleaned(disk, b"a", b"b", b"c").finish(b"")
    made = {change.node: change.name for change in disk.journal if isinstance(change, Link) and not change.is_directory}
    synced = {made[change.file] for change in disk.journal if isinstance(change, SyncFile)}
    assert synced == {f"{0:020d}{suffix}.ab.cleaned" for suffix in (".log", ".index", ".timeindex")}
    assert isinstance(disk.journal[-1], SyncDirectory)
    assert disk.open_descriptors() == 0
    assert check_cleaned(disk, DIRECTORY, 0, "ab", lambda: None) == facts
    assert facts.end_offset == 3


def test_a_discarded_segment_leaves_nothing(disk: MemoryFileSystem) -> None:
    cleaned(disk, b"a", b"b").discard()
    assert disk.list_directory(DIRECTORY) == []
    assert disk.open_descriptors() == 0


def test_the_checker_lets_others_run(disk: MemoryFileSystem) -> None:
    cleaned(disk, *(b"%d" % number for number in range(450))).finish(b"")
    pauses: list[None] = []
    check_cleaned(disk, DIRECTORY, 0, "ab", lambda: pauses.append(None))
    assert len(pauses) == 2


def test_the_new_segment_is_committed_before_an_old_file_is_given_up() -> None:
    stage = Stage()
    for number in range(6):
        stage.append((b"a", b"%d" % number))
        stage.close_segment()
    since = len(stage.disk.journal)
    stage.compact()
    changes = stage.disk.journal[since:]
    moves = {change.to_name: at for at, change in enumerate(changes) if isinstance(change, Move)}
    first = f"{0:020d}"
    committed, replaced = moves[f"{first}.log.swap"], moves[f"{first}.log.deleted"]
    given_up = [at for name, at in moves.items() if name.endswith(".deleted")]
    assert any(isinstance(change, SyncDirectory) for change in changes[committed : min(given_up)])
    assert replaced == max(given_up), "the first segment's log goes last: while it is there, others may be too"
    assert moves[f"{first}.log"] > replaced
    assert moves[f"{first}.log"] > moves[f"{first}.index"], "the log comes last: then all is in place"


def test_a_committed_segment_that_does_not_read_is_damage(disk: MemoryFileSystem) -> None:
    for content in (b"", b"garbage" * 20):
        disk.write_file(f"{DIRECTORY}/{0:020d}.log.swap", content)
        with pytest.raises(DamageFound):
            finish_interrupted(disk, DIRECTORY)
        assert disk.status(f"{DIRECTORY}/{0:020d}.log.swap") is not None


def test_a_directory_without_a_swap_is_left_alone(disk: MemoryFileSystem) -> None:
    disk.write_file(f"{DIRECTORY}/{0:020d}.log", b"")
    before = len(disk.journal)
    assert finish_interrupted(disk, DIRECTORY) == []
    assert len(disk.journal) == before
