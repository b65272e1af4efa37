"""What a child writes: kept whole in a bounded file, its last lines in memory, its complaints for the screen.

Owns ``$OTTLA_HOME/logs/<name>.log`` and its predecessors ``.1`` and ``.2``; together never more than about
``FILE_BYTES_MAX`` times ``FILES_KEPT``.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

FILE_BYTES_MAX = 5 * 1024 * 1024
FILES_KEPT = 3
LINES_REMEMBERED = 200
LINE_LENGTH_MAX = 4_000
LAST_WORDS_LENGTH_MAX = 200

SHOWN_PER_WINDOW_MAX = 10
SHOWN_WINDOW_SECONDS = 10.0

_IGNORED = re.compile(r"overcommit_memory")
"""Advice of the Redis server about snapshots, which are off."""
_IMPORTANT = re.compile(r"\b(WARNING|ERROR|CRITICAL|FATAL)\b|^\w+(\.\w+)*(Error|Exception)\b")


class ServiceLog:
    """The log of one service across its restarts."""

    def __init__(self, path: Path, show: Callable[[str], None], monotonic: Callable[[], float]) -> None:
        self.path = path
        self.lines: deque[str] = deque(maxlen=LINES_REMEMBERED)
        self._show = show
        self._monotonic = monotonic
        self._partial = b""
        self._window_start = 0.0
        self._window_count = 0
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open()

    def feed(self, data: bytes) -> list[str]:
        """Takes what came from the child; returns the lines it completed."""
        self._write(data)
        *complete, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_LENGTH_MAX:
            complete.append(self._partial)
            self._partial = b""
        lines = [line[:LINE_LENGTH_MAX].decode("utf-8", "replace").rstrip("\r") for line in complete]
        self.lines.extend(lines)
        for line in lines:
            if _IMPORTANT.search(line) and not _IGNORED.search(line):
                self._show_bounded(line)
        return lines

    def note(self, text: str) -> None:
        """A line of the supervisor's own, such as the start or the end of the process."""
        line = f"[supervisor {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC] {text}"
        self._write(line.encode() + b"\n")
        self.lines.append(line)

    def last_words(self) -> str:
        """The last thing the process itself said: usually why it ended."""
        said = (line for line in reversed(self.lines) if line.strip() and not line.startswith("[supervisor "))
        return next(said, "").strip()[:LAST_WORDS_LENGTH_MAX]

    def tail(self, count: int) -> list[str]:
        return list(self.lines)[-max(0, count) :] if count > 0 else []

    def close(self) -> None:
        self._file.close()

    def _show_bounded(self, line: str) -> None:
        now = self._monotonic()
        if now - self._window_start > SHOWN_WINDOW_SECONDS:
            self._window_start, self._window_count = now, 0
        self._window_count += 1
        if self._window_count <= SHOWN_PER_WINDOW_MAX:
            self._show(line)
        elif self._window_count == SHOWN_PER_WINDOW_MAX + 1:
            self._show(f"... more of this in {self.path}")

    def _open(self) -> None:
        self._file = open(self.path, "ab", buffering=0, opener=_private)  # noqa: SIM115  (closed by close)
        self._size = self._file.tell()

    def _write(self, data: bytes) -> None:
        if self._size + len(data) > FILE_BYTES_MAX and self._size:
            self._rotate()
        try:
            self._file.write(data)
        except OSError as error:
            # A full disk must not take the supervisor with it; the lines stay in memory.
            self._show_bounded(f"cannot write {self.path}: {error.strerror}")
        self._size += len(data)

    def _rotate(self) -> None:
        self._file.close()
        for index in range(FILES_KEPT - 1, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{index}")
            newer = self.path if index == 1 else self.path.with_name(f"{self.path.name}.{index - 1}")
            if newer.exists():
                newer.replace(older)
        self._open()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
