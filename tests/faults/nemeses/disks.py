"""Disks that are really full: small file systems of their own, mounted where a broker keeps its log."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.requires import require_tool

BALLAST = "ballast"
MEBIBYTE = 1 << 20


@contextlib.contextmanager
def small_disk(directory: Path, image: Path, *, mebibytes: int, journal: bool = False) -> Iterator[Path]:
    """A file system of this size on a loop device at ``directory``: ext4, because in memory nothing is durable."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    require_tool("mkfs.ext4")
    directory.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(mebibytes * MEBIBYTE)
    features = "has_journal" if journal else "^has_journal"
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", features, "-m", "0", str(image)], check=True)
    mounted = _mount(directory, image)
    if mounted.returncode != 0:
        pytest.skip(f"no loop devices here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def lose_power(directory: Path, image: Path) -> None:
    """Leave at ``directory`` what a ``small_disk`` with a journal itself has: whatever was never synced is gone.

    What the file system has not written to its device is not in the image, so a copy of that is the disk after a power
    failure. Nobody may have a file open there any more.
    """
    on_the_device = image.with_suffix(".copy")
    shutil.copyfile(image, on_the_device)
    subprocess.run(["umount", str(directory)], check=True)
    on_the_device.replace(image)
    mounted = _mount(directory, image)
    assert mounted.returncode == 0, f"its journal does not bring it back: {mounted.stderr}"


def _mount(directory: Path, image: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", "-o", "loop", str(image), str(directory)], capture_output=True, text=True)


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
