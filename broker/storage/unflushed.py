"""What one log has written that a power cut could still take back.

Owns: the segments, small files and directories touched since the last flush ticket, and the ticket that is out. At
most one ticket is out at a time: a second one could finish first and vouch for what only the first one syncs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.storage.environment import LogEnvironment
from broker.storage.flush_ticket import FlushTicket
from broker.storage.segment import Segment

if TYPE_CHECKING:
    from broker.storage.log_append import AppendableLog


class Unflushed:
    __slots__ = ("_directories", "_environment", "_generation", "_needs_log_dir_sync", "_paths", "_segments", "_ticket")

    def __init__(self, environment: LogEnvironment) -> None:
        self._environment = environment
        self._segments: list[Segment] = []
        self._paths: list[str] = []
        self._directories: list[str] = []
        self._generation = 0
        self._needs_log_dir_sync = 0
        self._ticket: FlushTicket | None = None

    def __bool__(self) -> bool:
        return bool(self._segments or self._paths or self._directories or self._ticket)

    def note_segment(self, segment: Segment) -> None:
        """Call it when ``segment.dirty`` is not set: that flag spares the append a look-up here."""
        segment.dirty = True
        self._segments.append(segment)

    def note_path(self, path: str) -> None:
        if path not in self._paths:
            self._paths.append(path)

    def note_directory(self, path: str) -> None:
        if path not in self._directories:
            self._directories.append(path)

    def note_partition_directory(self) -> None:
        """The name of the log's own directory is new in the log dir, which many new logs share."""
        self._needs_log_dir_sync = self._environment.log_dir_sync.needed()

    def discard(self, segments: list[Segment]) -> None:
        """The segments left the log: nobody waits for their bytes."""
        for segment in segments:
            if segment.dirty:
                segment.dirty = False
                self._segments.remove(segment)

    def truncated(self) -> None:
        """What a ticket that is out vouches for may have been cut away and written anew."""
        self._generation += 1

    def take(self, log: AppendableLog) -> FlushTicket | None:
        """A ticket for everything noted; ``None`` while one is out or if there is nothing. Raises ``OSError``."""
        if self._ticket is not None or not (self._segments or self._paths or self._directories):
            return None
        files = []
        try:
            for segment in self._segments:
                self._environment.files.pin(segment.file)
                files.append(segment.file)
        except OSError:
            for file in files:
                self._environment.files.unpin(file)
            raise
        for segment in self._segments:
            segment.dirty = False
        self._ticket = FlushTicket(
            log,
            self._environment.filesystem,
            self._generation,
            log.log_end_offset,
            files,
            self._paths,
            self._directories,
            self._environment.log_dir_sync if self._needs_log_dir_sync else None,
            self._needs_log_dir_sync,
            self._environment.health.fail,
        )
        self._segments, self._paths, self._directories, self._needs_log_dir_sync = [], [], [], 0
        return self._ticket

    def settle(self, ticket: FlushTicket) -> bool:
        """The ticket is back: release its files; whether what it vouches for is still the log."""
        assert ticket is self._ticket, "a ticket is settled once, by the log that made it"
        self._ticket = None
        for file in ticket.files:
            self._environment.files.unpin(file)
        return ticket.generation == self._generation
