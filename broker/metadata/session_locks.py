"""Locks that tell whether the holder of a session lives.

A holder keeps an flock on ``<store>-session-<name>`` from opening its session to closing it. The system releases it when
the process ends in whatever way, so a free lock means a dead (or gone) holder, without waiting for any timeout.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Collection
from pathlib import Path

RETRY_SECONDS = 0.5
"""How long to try for a lock: another broker's ``is_free`` holds it for microseconds."""


class SessionLocks:
    def __init__(self, store: Path) -> None:
        self._store = store
        self._descriptors: dict[str, int] = {}
        """By session id."""

    def acquire(self, session: str, name: str) -> bool:
        """Hold the lock of ``name`` for ``session``; False if somebody alive has it, be it another session of ours."""
        descriptor = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    return False
                time.sleep(0.005)
            else:
                self._descriptors[session] = descriptor
                return True

    def release(self, session: str) -> None:
        descriptor = self._descriptors.pop(session, None)
        if descriptor is not None:
            os.close(descriptor)

    def release_all(self) -> None:
        for session in list(self._descriptors):
            self.release(session)

    def held(self) -> Collection[str]:
        """The sessions of this store, as a copy."""
        return tuple(self._descriptors)

    def is_free(self, name: str) -> bool:
        """Whether nobody alive holds the lock of ``name``. Do not ask about a session of one's own."""
        try:
            descriptor = os.open(self._path(name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _path(self, name: str) -> Path:
        return self._store.with_name(f"{self._store.name}-session-{re.sub(r'[^A-Za-z0-9_-]', '_', name)}")
