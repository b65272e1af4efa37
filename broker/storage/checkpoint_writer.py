"""Writing the offset checkpoints of a log dir, from the loop or from a worker thread.

Owns: the order of those writes. A checkpoint taken on the loop is written and fsynced by a worker, but a truncation
must write its lower recovery point at once and durably; an older checkpoint that is still on its way must then never
replace the newer one. Each taking has a number; a file only moves to higher numbers. The files of one taking are written, synced,
renamed, and then their names are synced, all together: every sync is a commit of the file system's journal, and whoever waits
for a record to be on the disk waits for it. Every taking is durable: a broker does not start on a checkpoint that a power cut has
torn.

A full disk must not keep anybody from deleting, and deleting begins with a checkpoint (the new log start). So some
bytes are held in reserve, given up when a checkpoint finds no room and taken again when there is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading

from broker.storage.filesystem import FileSystem

RESERVE_FILE = ".reserve"
RESERVE_BYTES = 1024 * 1024
TEMPORARY_SUFFIX = ".tmp"
NO_ROOM_ERRNOS = frozenset((errno.ENOSPC, errno.EDQUOT))


class CheckpointWriter:
    __slots__ = ("_deaths", "_deaths_written", "_directory", "_filesystem", "_lock", "_reserved", "_taken", "_written")

    def __init__(self, filesystem: FileSystem, directory: str) -> None:
        self._filesystem = filesystem
        self._directory = directory
        self._lock = threading.Lock()
        self._taken = 0
        self._deaths = self._deaths_written = 0
        """Partitions deleted so far, and how many of them the files on the disk have forgotten."""
        self._written: dict[str, tuple[int, bytes | None]] = {}
        self._reserved = False
        self._reserve()

    def note_death(self) -> None:
        """A partition was deleted: contents that are taken from now on do not name it."""
        self._deaths += 1

    @property
    def name_the_dead(self) -> bool:
        return self._deaths_written < self._deaths

    def take(self, contents: dict[str, bytes], *, whole: bool = False) -> CheckpointTicket:
        """On the loop: fix what the files are to hold. ``whole``: all of them."""
        self._taken += 1
        return CheckpointTicket(self, self._taken, contents, self._deaths if whole else 0)

    def write(self, number: int, contents: dict[str, bytes], deaths: int) -> None:
        with self._lock:
            changed = {name: content for name, content in contents.items() if self._is_news(name, number, content)}
            if changed:
                # After a failure nobody knows what the files hold: not the old content for sure.
                self._written.update(dict.fromkeys(changed, (number, None)))
                self._replace(changed)
                self._written.update((name, (number, content)) for name, content in changed.items())
            self._deaths_written = max(self._deaths_written, deaths)
            self._reserve()

    def _is_news(self, name: str, number: int, content: bytes) -> bool:
        last_number, last_content = self._written.get(name, (0, None))
        return number >= last_number and content != last_content

    def _replace(self, contents: dict[str, bytes]) -> None:
        try:
            self._replace_all(contents)
        except OSError as error:
            if error.errno not in NO_ROOM_ERRNOS or not self._reserved:
                raise
            self._reserved = False
            self._filesystem.unlink(os.path.join(self._directory, RESERVE_FILE))
            self._replace_all(contents)

    def _replace_all(self, contents: dict[str, bytes]) -> None:
        filesystem = self._filesystem
        paths = [os.path.join(self._directory, name) for name in contents]
        for path, content in zip(paths, contents.values(), strict=True):
            filesystem.write_file(path + TEMPORARY_SUFFIX, content)
        for path in paths:
            filesystem.sync_file(path + TEMPORARY_SUFFIX)
        for path in paths:
            filesystem.rename(path + TEMPORARY_SUFFIX, path)
        filesystem.sync_directory(self._directory)

    def _reserve(self) -> None:
        """Take the reserve unless it is there; a disk without room for it is no reason to fail."""
        if self._reserved:
            return
        path = os.path.join(self._directory, RESERVE_FILE)
        status = self._filesystem.status(path)
        try:
            if status is None or status.size != RESERVE_BYTES:
                self._filesystem.write_file(path, bytes(RESERVE_BYTES))
            self._reserved = True
        except OSError:
            with contextlib.suppress(OSError):
                self._filesystem.unlink(path)


class CheckpointTicket:
    """One taking of the checkpoints. ``run`` may happen in a worker thread."""

    __slots__ = ("_contents", "_deaths", "_number", "_writer", "error")

    def __init__(self, writer: CheckpointWriter, number: int, contents: dict[str, bytes], deaths: int) -> None:
        self._writer = writer
        self._number = number
        self._contents = contents
        self._deaths = deaths
        self.error: OSError | None = None

    def run(self) -> None:
        """Never raises; the outcome is judged by ``LogDir.checkpointed``, on the loop."""
        try:
            self._writer.write(self._number, self._contents, self._deaths)
        except OSError as error:
            self.error = error

    def write(self) -> None:
        """Write now. Raises ``OSError``."""
        self._writer.write(self._number, self._contents, self._deaths)
