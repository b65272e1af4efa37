"""Waking the other processes that share a store, so that none has to look often.

Every open store has a named pipe ``<store>-wake-<random>`` beside its file. Whoever has news opens the others' pipes without
blocking and writes one byte. A pipe nobody reads belongs to a process that died, and is removed. Nothing depends on
the byte arriving: it only makes the next look come sooner.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

NEWS = b"n"
"""There is a new commit."""
ACKNOWLEDGED = b"a"
"""Somebody has seen a commit."""


class WakePipes:
    def __init__(self, store: Path) -> None:
        self._prefix = f"{store.name}-wake-"
        self._directory = store.parent
        self._own: Path | None = None
        self.descriptor: int | None = None
        """Of our own pipe; becomes readable when there is news. None where the file system has no pipes."""

    def open(self) -> None:
        path = self._directory / f"{self._prefix}{secrets.token_hex(8)}"
        hidden = path.with_name(f".{path.name}")
        try:
            os.mkfifo(hidden, 0o600)
            # Reading and writing, so that the pipe never ends when a writer closes it.
            self.descriptor = os.open(hidden, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            # Only now may the others see it: a pipe without a reader would be removed as dead.
            hidden.rename(path)
        except OSError:
            self.close()
            with contextlib.suppress(OSError):
                hidden.unlink()
            return
        self._own = path

    def close(self) -> None:
        if self._own is not None:
            with contextlib.suppress(OSError):
                self._own.unlink()
            self._own = None
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def read(self) -> bytes:
        """Everything written since, or nothing. Never blocks."""
        if self.descriptor is None:
            return b""
        try:
            return os.read(self.descriptor, 65_536)
        except BlockingIOError:
            return b""

    def wake_others(self, message: bytes) -> None:
        try:
            names = os.listdir(self._directory)
        except OSError:
            return
        for name in names:
            if name.startswith(self._prefix) and (self._own is None or name != self._own.name):
                self._wake(self._directory / name, message)

    @staticmethod
    def _wake(path: Path, message: bytes) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody reads it: its process died
                with contextlib.suppress(OSError):
                    path.unlink()
            return
        try:
            # A full pipe (BlockingIOError) is one whose reader has been woken often enough.
            with contextlib.suppress(OSError):
                os.write(descriptor, message)
        finally:
            os.close(descriptor)
