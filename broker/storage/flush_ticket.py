"""One log's share of a flush round.

Owns: what a worker thread must sync so that everything below ``end_offset`` survives a power cut: the segment
files written since the last flush, the small files written with them (indexes of rolled segments, producer
snapshots, leader epochs), and the directories whose names changed. ``run`` touches only descriptors and paths, so
many tickets of many logs can run in one round while the loop goes on appending.

The loop pins the files before it hands the ticket out and unpins them in ``Log.flushed``, to be called once per
ticket. If ``run`` raised, either hand the ticket to ``Log.flushed`` or set ``LogDir.failed_reason``: the log dir is
done for in both cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.storage.filesystem import FileSystem

if TYPE_CHECKING:
    from broker.storage.log import Log
    from broker.storage.open_files import LogFile


class FlushTicket:
    __slots__ = (
        "_descriptors",
        "_filesystem",
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
        log: Log,
        filesystem: FileSystem,
        generation: int,
        end_offset: int,
        files: list[LogFile],
        paths: list[str],
        directories: list[str],
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
        self._descriptors = [file.fd for file in files]

    def run(self) -> None:
        """In a worker thread. Raises ``OSError``; a ticket that failed once must never be run again."""
        filesystem = self._filesystem
        try:
            for fd in self._descriptors:
                filesystem.datasync(fd)
            for path in self.paths:
                filesystem.sync_file(path)
            for directory in self.directories:
                filesystem.sync_directory(directory)
        except OSError as error:
            self.error = error
            raise
