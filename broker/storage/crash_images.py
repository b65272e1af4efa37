"""The disks a crash could leave behind, built from a recorded journal (the ALICE idea).

Owns: what a file system may keep of changes that were never synced. Per file: its changes up to the last sync, and
any number of the later ones in order, the last of them torn, earlier ones perhaps lost as zeros. Per directory: its
names at the last sync, and any number of later changes in order; a rename is atomic even across directories.
Everything before a sync of the same file or directory is there.

A process crash (kill -9) is the case where all changes are kept; a power cut is every other case.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from broker.storage.memory_filesystem import (
    ROOT_ID,
    Change,
    DirectoryNode,
    FileNode,
    Link,
    MemoryFileSystem,
    Move,
    SyncDirectory,
    SyncFile,
    Truncate,
    Unlink,
    Write,
)

TEAR_POINTS = (1, 512, 4096)


@dataclass(slots=True)
class _History:
    """The changes of one file or directory, and how many of them must have survived."""

    changes: list[tuple[int, Change]] = field(default_factory=list)
    synced: int = 0


@dataclass(slots=True)
class _Histories:
    files: dict[int, _History] = field(default_factory=lambda: defaultdict(_History))
    directories: dict[int, _History] = field(default_factory=lambda: defaultdict(_History))


def image_after_process_crash(journal: Sequence[Change], tear: int | None = None) -> MemoryFileSystem:
    """All changes are there; ``tear`` keeps only so many bytes of the last one, if it is a longer write."""
    changes = list(journal)
    if tear is not None and changes and isinstance(changes[-1], Write) and len(changes[-1].data) > tear:
        changes[-1] = changes[-1]._replace(data=changes[-1].data[:tear])
    histories = _sort(changes)
    keep = {id_: len(history.changes) for id_, history in histories.files.items()}
    names = {id_: len(history.changes) for id_, history in histories.directories.items()}
    return _build(histories, keep, names, {})


def image_after_power_cut(journal: Sequence[Change]) -> MemoryFileSystem:
    """Only what was synced is there."""
    histories = _sort(journal)
    keep = {id_: history.synced for id_, history in histories.files.items()}
    names = {id_: history.synced for id_, history in histories.directories.items()}
    return _build(histories, keep, _with_whole_moves(histories, names), {})


def random_image(journal: Sequence[Change], choose: random.Random) -> MemoryFileSystem:
    """What was synced, and a random part of the rest."""
    histories = _sort(journal)
    keep = {id_: choose.randint(history.synced, len(history.changes)) for id_, history in histories.files.items()}
    names = {
        id_: choose.randint(history.synced, len(history.changes)) for id_, history in histories.directories.items()
    }
    damaged: dict[int, dict[int, bytes]] = defaultdict(dict)
    for id_, history in histories.files.items():
        for index in range(history.synced, keep[id_]):
            change = history.changes[index][1]
            if not isinstance(change, Write):
                continue
            if index == keep[id_] - 1 and choose.random() < 0.5:
                damaged[id_][index] = _torn(change.data, choose)
            elif choose.random() < 0.2:
                damaged[id_][index] = bytes(len(change.data))
    return _build(histories, keep, _with_whole_moves(histories, names), damaged)


def _torn(data: bytes, choose: random.Random) -> bytes:
    """The beginning of a write, alone or followed by the zeros of blocks that were allocated but never written."""
    kept = data[: choose.choice((*TEAR_POINTS, choose.randint(0, len(data))))]
    return kept + bytes(len(data) - len(kept)) if choose.random() < 0.5 else kept


def _sort(journal: Sequence[Change]) -> _Histories:
    histories = _Histories()
    for number, change in enumerate(journal):
        if isinstance(change, Write | Truncate):
            histories.files[change.file].changes.append((number, change))
        elif isinstance(change, SyncFile):
            history = histories.files[change.file]
            history.synced = len(history.changes)
        elif isinstance(change, SyncDirectory):
            history = histories.directories[change.directory]
            history.synced = len(history.changes)
        else:
            histories.directories[change.directory].changes.append((number, change))
            if isinstance(change, Move) and change.to_directory != change.directory:
                histories.directories[change.to_directory].changes.append((number, change))
    return histories


def _with_whole_moves(histories: _Histories, names: dict[int, int]) -> dict[int, int]:
    """A rename between two directories that survived in one of them survived in both."""
    changed = True
    while changed:
        changed = False
        for id_, history in histories.directories.items():
            for number, change in history.changes[: names[id_]]:
                if not isinstance(change, Move):
                    continue
                for other in (change.directory, change.to_directory):
                    needed = 1 + [n for n, _ in histories.directories[other].changes].index(number)
                    if names[other] < needed:
                        names[other] = needed
                        changed = True
    return names


def _build(
    histories: _Histories, keep: dict[int, int], names: dict[int, int], damaged: dict[int, dict[int, bytes]]
) -> MemoryFileSystem:
    files: dict[int, FileNode] = {}
    for id_, history in histories.files.items():
        files[id_] = FileNode(id_)
        for index, (_, change) in enumerate(history.changes[: keep[id_]]):
            _apply(files[id_].data, change, damaged.get(id_, {}).get(index))
    return MemoryFileSystem(_tree(histories, names, files))


def _apply(data: bytearray, change: Change, instead: bytes | None) -> None:
    if isinstance(change, Truncate):
        del data[change.size :]
        data.extend(bytes(change.size - len(data)))
    elif isinstance(change, Write):
        written = change.data if instead is None else instead
        data.extend(bytes(max(0, change.at - len(data))))
        data[change.at : change.at + len(written)] = written


def _tree(histories: _Histories, names: dict[int, int], files: dict[int, FileNode]) -> DirectoryNode:
    directories: dict[int, DirectoryNode] = defaultdict(lambda: DirectoryNode(ROOT_ID))
    root = directories[ROOT_ID]
    survived: dict[int, Change] = {}
    for id_, history in histories.directories.items():
        survived.update(dict(history.changes[: names[id_]]))
    for number in sorted(survived):
        change = survived[number]
        if isinstance(change, Link):
            entries = directories[change.directory].entries
            if change.is_directory:
                directories[change.node].id = change.node
                entries[change.name] = directories[change.node]
            else:
                entries[change.name] = files.setdefault(change.node, FileNode(change.node))
        elif isinstance(change, Unlink):
            directories[change.directory].entries.pop(change.name, None)
        elif isinstance(change, Move):
            node = directories[change.directory].entries.pop(change.name, None)
            if node is not None:
                directories[change.to_directory].entries[change.to_name] = node
    return root
