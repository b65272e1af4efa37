"""One log's share of a flush round.

Owns: what a worker thread must sync so that everything below ``end_offset`` survives a power cut: the segment
files written since the last flush, the small files written with them (indexes of rolled segments, producer
snapshots, leader epochs), and the directories whose names changed. ``run`` touches only descriptors and paths, so
many tickets of many logs can run in one round while the loop goes on appending.

The loop pins the files before it hands the ticket out and unpins them in ``Log.flushed``, to be called once per
ticket. A ticket whose ``run`` raised need not come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from broker import faultpoints
from broker.storage.existence import Existence
from broker.storage.filesystem import FileSystem

if TYPE_CHECKING:
    from broker.storage.log_append import AppendableLog
    from broker.storage.open_files import LogFile


class SharedSync:
    """The sync of the log dir's own names, to which many logs add: one covers all that were added before it began."""

    __slots__ = ("_changes", "_covered", "_existence", "_filesystem", "_path")

    def __init__(self, filesystem: FileSystem, path: str, existence: Existence) -> None:
        self._filesystem = filesystem
        self._path = path
        self._existence = existence
        self._changes = 0
        self._covered = 0

    def needed(self) -> int:
        """On the loop: a name was added; give the number to ``cover``."""
        self._changes += 1
        return self._changes

    def cover(self, change: int) -> None:
        """In a worker thread: sync unless that change is covered already. Raises ``OSError``."""
        if self._covered < change:
            before = self._changes
            made = self._existence.take_unmarked()
            self._filesystem.sync_directory(self._path)
            self._existence.mark(made)
            self._covered = max(self._covered, before)


class FlushTicket:
    __slots__ = (
        "_descriptors",
        "_fail",
        "_filesystem",
        "_log_dir_changes",
        "_log_dir_sync",
        "directories",
        "end_offset",
        "error",
        "files",
        "generation",
        "log",
        "paths",
    )

    def __init__(
        self,
        log: AppendableLog,
        filesystem: FileSystem,
        generation: int,
        end_offset: int,
        files: list[LogFile],
        paths: list[str],
        directories: list[str],
        log_dir_sync: SharedSync | None,
        log_dir_changes: int,
        fail: Callable[[str], None],
    ) -> None:
        self.log = log
        self.generation = generation
        """Of the log's truncations: a ticket from before one proves nothing about what was written after it."""
        self.end_offset = end_offset
        self.files = files
        self.paths = paths
        self.directories = directories
        self.error: OSError | None = None
        self._filesystem = filesystem
        self._log_dir_sync = log_dir_sync
        self._log_dir_changes = log_dir_changes
        self._fail = fail
        self._descriptors = [file.fd for file in files]

    def run(self) -> None:
        """In a worker thread. Raises ``OSError``; the log dir has then failed for good, whoever is told."""
        if faultpoints.SKIP_FSYNC:
            return
        filesystem = self._filesystem
        try:
            for fd in self._descriptors:
                filesystem.datasync(fd)
            for path in self.paths:
                filesystem.sync_file(path)
            for directory in self.directories:
                filesystem.sync_directory(directory)
            if self._log_dir_sync is not None:
                self._log_dir_sync.cover(self._log_dir_changes)
        except OSError as error:
            self.error = error
            self._fail(f"fsync for {self.log.directory} failed: {error}")
            raise
