"""Files and directories that were given up but not unlinked yet.

Owns: the list of what is due when. Deleting is two steps, as in Kafka: a rename that takes effect at once (a
``.deleted`` or ``-delete`` suffix, removed by the next start if this process dies), and the unlink after
``file.delete.delay.ms``. Unlinking a large file may block for a while, so it is handed out as a batch that a worker
thread can run.
"""

from __future__ import annotations

import heapq

from broker.storage.filesystem import FileSystem

DELETED_SUFFIX = ".deleted"


class DueDeletions:
    """Paths whose time has come. ``run`` touches nothing but the disk."""

    __slots__ = ("_filesystem", "paths")

    def __init__(self, filesystem: FileSystem, paths: list[str]) -> None:
        self._filesystem = filesystem
        self.paths = paths

    def run(self) -> list[str]:
        """Remove them all; returns what could not be removed, with the reason. The next start tries again."""
        problems = []
        for path in self.paths:
            try:
                status = self._filesystem.status(path)
                if status is not None and status.is_directory:
                    self._filesystem.remove_tree(path)
                else:
                    self._filesystem.unlink(path)
            except OSError as error:
                problems.append(f"{path}: {error}")
        return problems


class Deletions:
    __slots__ = ("_due", "_filesystem")

    def __init__(self, filesystem: FileSystem) -> None:
        self._filesystem = filesystem
        self._due: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._due)

    def schedule(self, path: str, due_ms: int) -> None:
        heapq.heappush(self._due, (due_ms, path))

    def forget_inside(self, directory: str) -> None:
        """The directory was renamed and will be removed as a whole."""
        prefix = directory + "/"
        self._due = [(due, path) for due, path in self._due if not path.startswith(prefix)]
        heapq.heapify(self._due)

    def take_due(self, now_ms: int) -> DueDeletions | None:
        paths = []
        while self._due and self._due[0][0] <= now_ms:
            paths.append(heapq.heappop(self._due)[1])
        return DueDeletions(self._filesystem, paths) if paths else None
