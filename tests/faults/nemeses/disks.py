"""Disks that are really full: small file systems of their own, mounted where a broker keeps its log."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.requires import require_tool

BALLAST = "ballast"
MEBIBYTE = 1 << 20


@contextlib.contextmanager
def small_disk(directory: Path, image: Path, *, mebibytes: int) -> Iterator[Path]:
    """A file system of this size on a loop device at ``directory``: ext4, because in memory nothing is durable."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    require_tool("mkfs.ext4")
    directory.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(mebibytes * MEBIBYTE)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", "-m", "0", str(image)], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(directory)], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no loop devices here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def fill(directory: Path, *, leave_bytes: int = 0) -> Path:
    """Take all the free space but so much of it; the file that took it, to be unlinked."""
    ballast = directory / BALLAST
    free = os.statvfs(directory)
    size = max(0, free.f_bavail * free.f_frsize - leave_bytes)
    with ballast.open("ab") as file:
        while size > 0:
            piece = min(size, MEBIBYTE)
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
            except OSError:
                break
            size -= piece
    return ballast
