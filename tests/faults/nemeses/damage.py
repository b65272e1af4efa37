"""Files that are not what was written: bits flipped, ends cut off, files gone or taken from elsewhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def flip_bit(path: Path, position: int) -> None:
    """In place, in the very file that a running process has open."""
    fd = os.open(path, os.O_RDWR)
    try:
        byte = os.pread(fd, 1, position)
        assert byte, f"{path} has no byte {position}"
        os.pwrite(fd, bytes((byte[0] ^ 0x10,)), position)
        os.fsync(fd)
    finally:
        os.close(fd)


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


def overwrite(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def copy_over(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def segments(directory: Path) -> list[Path]:
    """The log files of a partition, the active one last."""
    return sorted(directory.glob("*.log"))
