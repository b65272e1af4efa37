"""A bounded set of open segment files.

Owns: which ``.log`` files of a log dir are open. Thousands of partitions share few descriptors: a file opens at
its first use and closes again when too many others are used after it. Called by segments on every append and
read, so a hit costs one attribute.

What must stay true: a pinned file (its descriptor is in a worker thread) is never closed under the worker; it
closes when the last pin goes.
"""

from __future__ import annotations

from broker.storage.filesystem import FileSystem

CLOSED = -1


class LogFile:
    """One file that may be open. ``fd`` is valid only after ``OpenFiles.use``, until the loop's next use of another."""

    __slots__ = ("close_when_unpinned", "fd", "path", "pins", "used")

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = CLOSED
        self.pins = 0
        self.used = False
        self.close_when_unpinned = False


class OpenFiles:
    __slots__ = ("_filesystem", "_limit", "_open")

    def __init__(self, filesystem: FileSystem, limit: int) -> None:
        assert limit > 0
        self._filesystem = filesystem
        self._limit = limit
        self._open: dict[LogFile, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def use(self, file: LogFile, *, create: bool = False) -> int:
        """The file's descriptor, opened if need be. Raises ``OSError``."""
        if file.fd != CLOSED:
            file.used = True
        else:
            if len(self._open) >= self._limit:
                self._make_room()
            file.fd = self._filesystem.open(file.path, create=create)
            file.used = file.close_when_unpinned = False
            self._open[file] = None
        return file.fd

    def pin(self, file: LogFile) -> int:
        """``use``, and keep it open until ``unpin``: for a descriptor that goes to another thread."""
        fd = self.use(file)
        file.pins += 1
        return fd

    def unpin(self, file: LogFile) -> None:
        assert file.pins > 0
        file.pins -= 1
        if file.pins == 0 and file.close_when_unpinned:
            self.close(file)

    def close(self, file: LogFile) -> None:
        """Close now, or when the last pin goes."""
        if file.fd == CLOSED:
            return
        if file.pins:
            file.close_when_unpinned = True
            return
        del self._open[file]
        fd, file.fd = file.fd, CLOSED
        self._filesystem.close(fd)

    def close_all(self) -> None:
        for file in list(self._open):
            self.close(file)

    def _make_room(self) -> None:
        """Close the longest open file that was not used again since it was opened or last looked at (a clock)."""
        for _ in range(2):
            for file in list(self._open):
                if file.pins:
                    continue
                if not file.used:
                    self.close(file)
                    return
                file.used = False
                del self._open[file]
                self._open[file] = None
