"""Replacing segments by a cleaned one so that a crash at any moment leaves the old log or the new one, never a mixture.

Owns the order of renames, and what a start makes of one that was interrupted.

    1  <base>.*.<token>.cleaned → <base>.*.swap     the log last; then the directory is synced: this is the commit
    2  files of the replaced segments → .deleted    the first segment's log last
    3  <base>.*.swap → <base>.*                     the log last; then the directory is synced

What a start finds, and does:

    no <base>.log.swap             1 did not end: other .swap and .cleaned files go, the old segments are the log
    <base>.log.swap, <base>.log    2 did not end: what is left of the replaced segments goes, then 3
    <base>.log.swap alone          3 did not end: it is done again

A swapped log says by itself what it replaces: every segment that begins in [base, end of its last batch). Compaction
keeps the last batch of what it replaces, empty if need be, so that this range ends exactly where the next segment begins
(see docs/decisions/054).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from broker.storage.cleaned_segment import (
    ALL_SUFFIXES,
    BESIDE_THE_LOG,
    SWAP_SUFFIX,
    cleaned_path,
    replaced_names,
)
from broker.storage.filesystem import FileSystem
from broker.storage.segment import LOG_SUFFIX, segment_path
from broker.storage.segment_scan import DamageFound, scan_headers

_SWAPPED = re.compile(r"(\d{20})(\.\w+)\.swap")
_LOG = re.compile(r"(\d{20})\.log")


def commit(filesystem: FileSystem, directory: str, base_offset: int, token: str) -> None:
    """Step 1, but for its sync. Raises ``OSError``; what was renamed by then is renamed back, if the disk allows it."""
    renamed: list[tuple[str, str]] = []
    try:
        for suffix in ALL_SUFFIXES:
            source = cleaned_path(directory, base_offset, suffix, token)
            target = segment_path(directory, base_offset, suffix) + SWAP_SUFFIX
            if filesystem.status(source) is None:
                filesystem.unlink(target)
            else:
                filesystem.rename(source, target)
                renamed.append((source, target))
    except OSError:
        for source, target in reversed(renamed):
            filesystem.rename(target, source)
        raise


def take_place(filesystem: FileSystem, directory: str, base_offset: int) -> None:
    """Step 3, but for the last sync. Raises ``OSError``."""
    for suffix in ALL_SUFFIXES:
        path = segment_path(directory, base_offset, suffix)
        if filesystem.status(path + SWAP_SUFFIX) is not None:
            filesystem.rename(path + SWAP_SUFFIX, path)


def finish_interrupted(filesystem: FileSystem, directory: str) -> list[str]:
    """At start: complete what was committed, forget the rest. Returns notes; raises ``DamageFound`` and ``OSError``."""
    names = filesystem.list_directory(directory)
    swapped = [match for name in names if (match := _SWAPPED.fullmatch(name)) is not None]
    committed = sorted(int(match[1]) for match in swapped if match[2] == LOG_SUFFIX)
    for match in swapped:
        if int(match[1]) not in committed:
            filesystem.unlink(os.path.join(directory, match[0]))
    bases = sorted(int(match[1]) for name in names if (match := _LOG.fullmatch(name)) is not None)
    notes = []
    for base in committed:
        end = _end_offset(filesystem, directory, base)
        replaced = [other for other in bases if base <= other < end]
        if base in replaced:
            _give_up(filesystem, directory, replaced)
        take_place(filesystem, directory, base)
        notes.append(f"completed the compaction of offsets {base} to {end - 1}, which was interrupted")
    if swapped:
        filesystem.sync_directory(directory)
    return notes


def _give_up(filesystem: FileSystem, directory: str, replaced: Sequence[int]) -> None:
    for path in replaced_names(replaced, directory):
        filesystem.unlink(path)


def _end_offset(filesystem: FileSystem, directory: str, base_offset: int) -> int:
    path = segment_path(directory, base_offset, LOG_SUFFIX) + SWAP_SUFFIX
    fd = filesystem.open(path)
    try:
        size, end = filesystem.size(fd), base_offset
        for _, header in scan_headers(filesystem, fd, 0, size, base_offset, gaps_allowed=True, exact=False):
            end = header.next_offset
    finally:
        filesystem.close(fd)
    if end == base_offset:
        raise DamageFound(0, base_offset, f"{os.path.basename(path)} is empty")
    return end


assert set(BESIDE_THE_LOG) < set(ALL_SUFFIXES)
