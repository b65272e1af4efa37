"""Transactions in ``dump_log`` and ``verify_log``: markers, transaction indexes and their checkpoint, on real files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from broker.commandline.dump import dump_file
from broker.commandline.log_files import kind_of
from broker.commandline.verify import survey, verify
from broker.commandline.verify_partition import Rules
from broker.storage.filesystem import RealFileSystem
from broker.storage.log import Log
from tests.storage.committed import append_marker
from tests.storage.support import CONFIG, PARTITION, TOPIC_ID, append, flush, open_log_dir

ENTRY = struct.Struct(">hqqqq")
ROLL_MS = 10**15


def transaction(log: Log, producer: int, sequence: int, *, commit: bool | None) -> None:
    append(
        log, b"x", producer_id=producer, producer_epoch=0, base_sequence=sequence, is_transactional=True, leader_epoch=0
    )
    if commit is not None:
        append_marker(log, producer, commit=commit, coordinator_epoch=4)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two segments: an abort in each, one of a transaction that began in the other, a commit, an open one."""
    log_dir = open_log_dir(RealFileSystem(), path=str(tmp_path))
    log = log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)
    transaction(log, 1, 0, commit=False)  # 0, 1
    transaction(log, 2, 0, commit=None)  # 2
    transaction(log, 3, 0, commit=True)  # 3, 4
    log.roll_if_due(ROLL_MS)
    transaction(log, 1, 1, commit=False)  # 5, 6
    append_marker(log, 2, commit=False, coordinator_epoch=4)  # 7
    transaction(log, 4, 0, commit=None)  # 8
    flush(log)
    log_dir.close(clean=True)
    return tmp_path / str(PARTITION)


def rows(path: Path, *, deep: bool = False) -> list[dict[str, Any]]:
    known = kind_of(str(path))
    assert known is not None
    return list(dump_file(str(path), *known, deep=deep))


def damage(directory: Path, **rules: bool) -> list[tuple[str, int | None, str]]:
    report = verify(survey([str(directory)]), Rules(**rules))
    return [(Path(row["path"]).name, row["offset"], row["what"]) for row in report["damage"]]


def second_index(directory: Path) -> Path:
    return directory / f"{5:020d}.txnindex"


def test_markers_are_told_by_type_and_coordinator(directory: Path) -> None:
    found = rows(directory / f"{0:020d}.log", deep=True)

    assert [row["isControl"] for row in found if row["kind"] == "batch"] == [False, True, False, False, True]
    markers = [row for row in found if row["kind"] == "record" and "controlType" in row]
    assert [(row["offset"], row["controlType"], row["coordinatorEpoch"]) for row in markers] == [
        (1, "ABORT", 4),
        (4, "COMMIT", 4),
    ]


def test_a_transaction_index_is_told_entry_by_entry(directory: Path) -> None:
    found = rows(second_index(directory))

    fields = ("kind", "version", "producerId", "firstOffset", "lastOffset", "lastStableOffset")
    assert [tuple(row[name] for name in fields) for row in found] == [
        ("aborted transaction", 0, 1, 5, 6, 2),
        ("aborted transaction", 0, 2, 2, 7, 8),
    ]


def test_the_checkpoint_of_the_indexes_is_told(directory: Path) -> None:
    found = rows(directory / "aborted-transactions-checkpoint")

    assert [(row["baseOffset"], row["entries"]) for row in found] == [(0, 1), (5, 2)]


def test_open_transactions_are_told_by_the_snapshot(directory: Path) -> None:
    found = rows(directory / f"{9:020d}.snapshot")

    assert {row["producerId"]: row["currentTxnFirstOffset"] for row in found} == {1: None, 2: None, 3: None, 4: 8}


def test_whole_files_are_found_whole(directory: Path) -> None:
    report = verify(survey([str(directory)]), Rules(deep=True))

    assert (report["damage"], report["warnings"]) == ([], [])


def test_a_missing_index_is_a_warning(directory: Path) -> None:
    second_index(directory).unlink()

    report = verify(survey([str(directory)]), Rules())

    assert report["damage"] == []
    assert [Path(row["path"]).name for row in report["warnings"]] == [second_index(directory).name]


def test_an_entry_too_few_is_damage(directory: Path) -> None:
    path = second_index(directory)
    path.write_bytes(path.read_bytes()[:34])

    ((name, offset, what),) = damage(directory)

    assert (name, offset) == (path.name, 7)
    assert "producer 2" in what
    assert damage(directory, torn_tail_allowed=True) == [], "a running broker writes the log first"


@pytest.mark.parametrize(
    ("entries", "offset", "what"),
    [
        ([(0, 1, 5, 6, 2), (0, 2, 2, 7, 8), (0, 3, 3, 8, 9)], 8, "no marker there does"),
        ([(0, 9, 5, 6, 2), (0, 2, 2, 7, 8)], 6, "no marker there does"),
        ([(0, 1, 4, 6, 2), (0, 2, 2, 7, 8)], 6, "begins at 4; it begins at 5"),
        ([(0, 1, 5, 6, 7), (0, 2, 2, 7, 8)], 6, "everything below 7 was decided"),
        ([(0, 2, 2, 7, 8), (0, 1, 5, 6, 2)], None, "cannot be read"),
        ([(3, 1, 5, 6, 2)], None, "cannot be read"),
    ],
)
def test_entries_that_contradict_the_log_are_damage(
    directory: Path, entries: list[tuple[int, ...]], offset: int | None, what: str
) -> None:
    second_index(directory).write_bytes(b"".join(ENTRY.pack(*entry) for entry in entries))

    found = damage(directory)

    assert (found[0][0], found[0][1]) == (second_index(directory).name, offset)
    assert what in found[0][2]


def test_what_was_deleted_cannot_be_checked_and_is_believed(directory: Path) -> None:
    for path in directory.glob(f"{0:020d}.*"):
        path.unlink()

    assert [name for name, *_ in damage(directory) if name.endswith(".txnindex")] == []


def test_of_a_compacted_log_only_what_is_named_must_be_there(directory: Path) -> None:
    path = second_index(directory)
    path.write_bytes(path.read_bytes()[34:])

    assert damage(directory, gaps_allowed=True) == []
