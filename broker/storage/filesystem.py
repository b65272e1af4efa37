"""The only door from the log to the disk.

Owns: ``FileSystem``, the small port through which storage touches files, and ``RealFileSystem``. Everything a
crash can tear goes through here, so a recording twin (``memory_filesystem.py``) can replay any crash.

Files are plain descriptors: a wrapper object per file would cost a call on the produce path. Errors are
``OSError``, as the operating system raises them. Durability is explicit: data needs ``datasync`` of its file, a
new or renamed name needs ``sync_directory`` of its directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from broker.types import Buffer

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
_FALLOC_FL_KEEP_SIZE = 1


class FileStatus(NamedTuple):
    size: int
    modified_ms: int
    is_directory: bool


class DiskUsage(NamedTuple):
    total_bytes: int
    free_bytes: int


class FileSystem(Protocol):
    def open(self, path: str, *, create: bool = False) -> int:
        """Open for reading and appending; ``writev`` always writes at the end. ``create`` makes a missing file."""

    def close(self, fd: int) -> None: ...

    def writev(self, fd: int, buffers: Sequence[Buffer]) -> int:
        """Append; returns the bytes written, which a full disk may make fewer than asked."""

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """At most ``size`` bytes; fewer only at the end of the file."""

    def truncate(self, fd: int, size: int) -> None: ...

    def reserve(self, fd: int, size: int) -> None:
        """Have ``size`` bytes of the file's disk blocks set aside; its size stays. ``truncate`` gives back what is
        beyond it. Nothing where the system has no such call."""

    def datasync(self, fd: int) -> None:
        """Make the file's content and size durable. Blocks; call it from a worker thread."""

    def size(self, fd: int) -> int: ...

    def status(self, path: str) -> FileStatus | None:
        """``None`` if there is no such path."""

    def read_file(self, path: str) -> bytes | None:
        """The whole content; ``None`` if there is no such file."""

    def read_end(self, path: str, size: int) -> tuple[int, bytes]:
        """The file's size and its last ``size`` bytes, fewer if it has fewer; a missing file is an empty one."""

    def write_file(self, path: str, content: Buffer) -> None:
        """Replace the content in place, without any durability: for files that are rebuilt when damaged."""

    def append_file(self, path: str, content: Buffer, at: int) -> None:
        """Cut the file to ``at`` bytes and append, creating it if missing; no durability."""

    def replace_file(self, path: str, content: bytes, *, durable: bool = True) -> None:
        """Replace atomically through ``<path>.tmp``. Without ``durable`` the new content may be lost, or empty, after
        a crash until ``sync_file`` and ``sync_directory``."""

    def sync_file(self, path: str) -> None:
        """``datasync`` by name; a file that is gone by now needs none."""

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable; one that is gone by now needs none."""

    def sync_all(self, path: str) -> None:
        """Make everything below a directory durable, contents and names, as it is now. One call, where the system has one
        for that, instead of one for each file."""

    def rename(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None:
        """Remove a file; one that is gone already is fine."""

    def list_directory(self, path: str) -> list[str]: ...

    def make_directory(self, path: str) -> None:
        """Create with its parents; one that exists is fine."""

    def remove_tree(self, path: str) -> None: ...

    def disk_usage(self, path: str) -> DiskUsage: ...

    def lock(self, path: str) -> int | None:
        """Hold an exclusive lock until the descriptor is closed; ``None`` if another process has it."""


class RealFileSystem:
    """The operating system's files. The hot calls are the ``os`` functions themselves."""

    writev = staticmethod(os.writev)
    pread = staticmethod(os.pread)
    truncate = staticmethod(os.ftruncate)
    close = staticmethod(os.close)
    datasync = staticmethod(os.fdatasync if hasattr(os, "fdatasync") else os.fsync)
    rename = staticmethod(os.replace)
    list_directory = staticmethod(os.listdir)

    @staticmethod
    def open(path: str, *, create: bool = False) -> int:
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        return os.open(path, flags | os.O_CREAT if create else flags, FILE_MODE)

    @staticmethod
    def reserve(fd: int, size: int) -> None:
        fallocate = _fallocate()
        if fallocate is not None and fallocate(fd, _FALLOC_FL_KEEP_SIZE, 0, size) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    @staticmethod
    def size(fd: int) -> int:
        return os.fstat(fd).st_size

    @staticmethod
    def status(path: str) -> FileStatus | None:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return None
        return FileStatus(status.st_size, status.st_mtime_ns // 1_000_000, stat.S_ISDIR(status.st_mode))

    @staticmethod
    def read_file(path: str) -> bytes | None:
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    @staticmethod
    def read_end(path: str, size: int) -> tuple[int, bytes]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0, b""
        try:
            total = os.fstat(fd).st_size
            return total, os.pread(fd, size, max(0, total - size))
        finally:
            os.close(fd)

    @staticmethod
    def write_file(path: str, content: Buffer) -> None:
        with open(path, "wb") as file:
            file.write(content)

    @staticmethod
    def append_file(path: str, content: Buffer, at: int) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            os.ftruncate(fd, at)
            _write_all(fd, content, at)
        finally:
            os.close(fd)

    def replace_file(self, path: str, content: bytes, *, durable: bool = True) -> None:
        temporary = path + ".tmp"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        try:
            _write_all(fd, content, 0)
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
        if durable:
            self.sync_directory(os.path.dirname(path))

    @staticmethod
    def sync_file(path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            _sync_path(path, os.O_RDONLY)

    @staticmethod
    def sync_directory(path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            _sync_path(path, os.O_RDONLY | os.O_DIRECTORY)

    def sync_all(self, path: str) -> None:
        syncfs = _syncfs()
        if syncfs is None:
            for directory, _, names in os.walk(path):
                for name in names:
                    self.sync_file(os.path.join(directory, name))
                self.sync_directory(directory)
            return
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if syncfs(fd) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), path)
        finally:
            os.close(fd)

    @staticmethod
    def unlink(path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    @staticmethod
    def make_directory(path: str) -> None:
        os.makedirs(path, DIRECTORY_MODE, exist_ok=True)

    @staticmethod
    def remove_tree(path: str) -> None:
        shutil.rmtree(path)

    @staticmethod
    def disk_usage(path: str) -> DiskUsage:
        usage = os.statvfs(path)
        return DiskUsage(usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize)

    @staticmethod
    def lock(path: str) -> int | None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return fd


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    """Linux's, which ``os.posix_fallocate`` is not: that one makes the file longer, and a log's size says where it ends."""
    found = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return found


@functools.cache
def _syncfs() -> Callable[[int], int] | None:
    """Linux's. Since 5.8 it fails, as fsync does, when anything on the file system could not be written."""
    return getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)


def _write_all(fd: int, content: Buffer, at: int) -> None:
    view = memoryview(content).cast("B") if len(content) else memoryview(b"")
    while view:
        written = os.pwrite(fd, view, at)
        at += written
        view = view[written:]


def _sync_path(path: str, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
