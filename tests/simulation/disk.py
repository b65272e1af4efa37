"""The disk of one simulated machine: what was not fsynced may be gone after a power cut, and calls may fail.

Owns the files of a broker over all its lives. The storage layer writes into its own recording file system
(``broker/storage/memory_filesystem.py``); what a power cut leaves of the recording is chosen by
``broker/storage/crash_images.py``. A process that is killed loses nothing but its descriptors.
"""

from __future__ import annotations

import errno
from random import Random

from broker.storage.crash_images import image_after_power_cut, random_image
from broker.storage.memory_filesystem import (
    DirectoryNode,
    FileNode,
    Link,
    MemoryFileSystem,
    SyncDirectory,
    SyncFile,
    Write,
)


class Disk:
    def __init__(self, random: Random) -> None:
        self._random = random
        self.filesystem = MemoryFileSystem()
        self.boots = 0

    def kill(self) -> None:
        """The process is gone, and with it its descriptors and locks. The page cache stays."""
        filesystem = self.filesystem
        filesystem.fault = None
        for descriptor in list(filesystem._descriptors):
            filesystem.close(descriptor)

    def cut_power(self) -> None:
        """What was synced is there, and perhaps some of the rest."""
        journal = self.filesystem.journal
        left = image_after_power_cut(journal) if self._random.random() < 0.5 else random_image(journal, self._random)
        _record_anew(left, left.root)
        self.filesystem = left
        self.boots += 1

    def fail(self, operation: str) -> None:
        """Every ``operation`` ("sync", "write") fails from now on, until the process ends."""

        def refuse(tried: str, path: str) -> None:
            if tried == operation:
                raise OSError(errno.EIO, "simulated", path)

        self.filesystem.fault = refuse


def _record_anew(filesystem: MemoryFileSystem, directory: DirectoryNode) -> None:
    """Whatever a machine finds when it boots is on the disk."""
    journal = filesystem.journal
    for name, node in directory.entries.items():
        journal.append(Link(directory.id, name, node.id, isinstance(node, DirectoryNode)))
        if isinstance(node, FileNode):
            journal.append(Write(node.id, 0, bytes(node.data)))
            journal.append(SyncFile(node.id))
        else:
            _record_anew(filesystem, node)
    journal.append(SyncDirectory(directory.id))
