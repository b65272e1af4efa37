"""A file system in memory that remembers every change: for simulation and crash tests.

Owns: ``MemoryFileSystem``, which behaves like ``RealFileSystem`` and appends each change to ``journal``, and the
faults a test may order (errors, a full disk). ``crash_images.py`` turns a journal into the disks a crash could have
left behind.

Files and directories have ids, as inodes do: a rename moves a name, not what it names, and what was synced stays
synced under any name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.storage.filesystem import DiskUsage, FileStatus
from broker.types import Buffer

ROOT_ID = 0


class Link(NamedTuple):
    """A new file or directory got a name."""

    directory: int
    name: str
    node: int
    is_directory: bool


class Unlink(NamedTuple):
    directory: int
    name: str


class Move(NamedTuple):
    """One atomic rename; what had the target's name is gone."""

    directory: int
    name: str
    to_directory: int
    to_name: str


class Write(NamedTuple):
    file: int
    at: int
    data: bytes


class Truncate(NamedTuple):
    file: int
    size: int


class SyncFile(NamedTuple):
    file: int


class SyncDirectory(NamedTuple):
    directory: int


Change = Link | Unlink | Move | Write | Truncate | SyncFile | SyncDirectory


@dataclass(slots=True, eq=False)
class FileNode:
    id: int
    data: bytearray = field(default_factory=bytearray)
    locked: bool = False


@dataclass(slots=True, eq=False)
class DirectoryNode:
    id: int
    entries: dict[str, FileNode | DirectoryNode] = field(default_factory=dict)


class MemoryFileSystem:
    def __init__(self, root: DirectoryNode | None = None) -> None:
        self.root = root or DirectoryNode(ROOT_ID)
        self.journal: list[Change] = []
        self.fault: Callable[[str, str], None] | None = None
        """Called with (operation, path) before it happens; may raise ``OSError``."""
        self.capacity_bytes: int | None = None
        """Appending beyond it is short, then ENOSPC, as on a full disk."""
        self.clock_ms = 1_700_000_000_000
        self._descriptors: dict[int, tuple[FileNode, str]] = {}
        self._next_descriptor = 3
        self._next_id = 1 + max((node.id for node in self._walk(self.root)), default=ROOT_ID)

    # Descriptors -----------------------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> int:
        self._check("open", path)
        node = self._find(path)
        if node is None:
            if not create:
                raise _not_found(path)
            node = self._create(path)
        if isinstance(node, DirectoryNode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return self._descriptor(node, path)

    def close(self, fd: int) -> None:
        node, _ = self._descriptors.pop(fd)
        node.locked = node.locked and any(other is node for other, _ in self._descriptors.values())

    def writev(self, fd: int, buffers: Sequence[Buffer]) -> int:
        node, path = self._descriptors[fd]
        self._check("write", path)
        data = b"".join(buffers)
        if self.capacity_bytes is not None:
            room = max(0, self.capacity_bytes - self.used_bytes())
            if data and not room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
            data = data[:room]
        self._write(node, len(node.data), data)
        return len(data)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        node, path = self._descriptors[fd]
        self._check("read", path)
        return bytes(memoryview(node.data)[offset : offset + size])

    def truncate(self, fd: int, size: int) -> None:
        node, path = self._descriptors[fd]
        self._check("truncate", path)
        self._truncate(node, size)

    def reserve(self, fd: int, size: int) -> None:
        """Blocks are nothing a crash or a reader could see; only the fault is played."""
        self._check("reserve", self._descriptors[fd][1])

    def datasync(self, fd: int) -> None:
        node, path = self._descriptors[fd]
        self._check("sync", path)
        self.journal.append(SyncFile(node.id))

    def size(self, fd: int) -> int:
        return len(self._descriptors[fd][0].data)

    def open_descriptors(self) -> int:
        return len(self._descriptors)

    # Paths -----------------------------------------------------------------------------------------

    def status(self, path: str) -> FileStatus | None:
        node = self._find(path)
        if node is None:
            return None
        if isinstance(node, DirectoryNode):
            return FileStatus(0, self.clock_ms, True)
        return FileStatus(len(node.data), self.clock_ms, False)

    def read_file(self, path: str) -> bytes | None:
        self._check("read", path)
        node = self._find(path)
        return bytes(node.data) if isinstance(node, FileNode) else None

    def read_end(self, path: str, size: int) -> tuple[int, bytes]:
        content = self.read_file(path) or b""
        return len(content), content[-size:]

    def write_file(self, path: str, content: Buffer) -> None:
        self.append_file(path, content, 0)

    def append_file(self, path: str, content: Buffer, at: int) -> None:
        self._check("write", path)
        node = self._find(path) or self._create(path)
        assert isinstance(node, FileNode)
        self._truncate(node, at)
        if self.capacity_bytes is not None and self.used_bytes() + len(content) > self.capacity_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        self._write(node, at, bytes(content))

    def replace_file(self, path: str, content: bytes, *, durable: bool = True) -> None:
        self._check("write", path)
        temporary = path + ".tmp"
        self.write_file(temporary, content)
        if durable:
            self.sync_file(temporary)
        self.rename(temporary, path)
        if durable:
            self.sync_directory(os.path.dirname(path))

    def sync_file(self, path: str) -> None:
        self._check("sync", path)
        node = self._find(path)
        if isinstance(node, FileNode):
            self.journal.append(SyncFile(node.id))

    def sync_directory(self, path: str) -> None:
        self._check("sync", path)
        node = self._find(path)
        if isinstance(node, DirectoryNode):
            self.journal.append(SyncDirectory(node.id))

    def sync_all(self, path: str) -> None:
        self._check("sync", path)
        node = self._find(path)
        for one in self._walk(node) if node is not None else ():
            self.journal.append(SyncFile(one.id) if isinstance(one, FileNode) else SyncDirectory(one.id))

    def rename(self, source: str, target: str) -> None:
        self._check("rename", source)
        from_parent, to_parent = self._parent(source), self._parent(target)
        from_name, to_name = os.path.basename(source), os.path.basename(target)
        if from_name not in from_parent.entries:
            raise _not_found(source)
        to_parent.entries[to_name] = from_parent.entries.pop(from_name)
        self.journal.append(Move(from_parent.id, from_name, to_parent.id, to_name))

    def unlink(self, path: str) -> None:
        self._check("unlink", path)
        parent, name = self._parent(path), os.path.basename(path)
        if parent.entries.pop(name, None) is not None:
            self.journal.append(Unlink(parent.id, name))

    def list_directory(self, path: str) -> list[str]:
        node = self._find(path)
        if not isinstance(node, DirectoryNode):
            raise _not_found(path)
        return list(node.entries)

    def make_directory(self, path: str) -> None:
        self._check("mkdir", path)
        node = self.root
        for part in _parts(path):
            child = node.entries.get(part)
            if child is None:
                child = node.entries[part] = DirectoryNode(self._new_id())
                self.journal.append(Link(node.id, part, child.id, True))
            assert isinstance(child, DirectoryNode)
            node = child

    def remove_tree(self, path: str) -> None:
        self._check("unlink", path)
        parent, name = self._parent(path), os.path.basename(path)
        if name not in parent.entries:
            raise _not_found(path)
        del parent.entries[name]
        self.journal.append(Unlink(parent.id, name))

    def disk_usage(self, path: str) -> DiskUsage:
        total = self.capacity_bytes if self.capacity_bytes is not None else 1 << 40
        return DiskUsage(total, max(0, total - self.used_bytes()))

    def lock(self, path: str) -> int | None:
        node = self._find(path) or self._create(path)
        assert isinstance(node, FileNode)
        if node.locked:
            return None
        node.locked = True
        return self._descriptor(node, path)

    def used_bytes(self) -> int:
        return sum(len(node.data) for node in self._walk(self.root) if isinstance(node, FileNode))

    # Nodes -----------------------------------------------------------------------------------------

    def _check(self, operation: str, path: str) -> None:
        if self.fault is not None:
            self.fault(operation, path)

    def _find(self, path: str) -> FileNode | DirectoryNode | None:
        node: FileNode | DirectoryNode = self.root
        for part in _parts(path):
            if not isinstance(node, DirectoryNode) or part not in node.entries:
                return None
            node = node.entries[part]
        return node

    def _parent(self, path: str) -> DirectoryNode:
        parent = self._find(os.path.dirname(path))
        if not isinstance(parent, DirectoryNode):
            raise _not_found(path)
        return parent

    def _create(self, path: str) -> FileNode:
        parent, name = self._parent(path), os.path.basename(path)
        node = parent.entries[name] = FileNode(self._new_id())
        self.journal.append(Link(parent.id, name, node.id, False))
        return node

    def _write(self, node: FileNode, at: int, data: bytes) -> None:
        node.data[at:] = data
        if data:
            self.journal.append(Write(node.id, at, data))

    def _truncate(self, node: FileNode, size: int) -> None:
        if size != len(node.data):
            del node.data[size:]
            node.data.extend(bytes(size - len(node.data)))
            self.journal.append(Truncate(node.id, size))

    def _new_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _descriptor(self, node: FileNode, path: str) -> int:
        self._next_descriptor += 1
        self._descriptors[self._next_descriptor] = node, path
        return self._next_descriptor

    def _walk(self, node: FileNode | DirectoryNode) -> Iterator[FileNode | DirectoryNode]:
        yield node
        if isinstance(node, DirectoryNode):
            for child in node.entries.values():
                yield from self._walk(child)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _not_found(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
