"""Writes the history file of one client. Every line is in the file before the call returns: whoever is killed by
kill -9 leaves everything that it did, and at most one torn line."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.faults.checker.history import Event, encode


class Recorder:
    """One process of the history at a time; ``retire`` begins the next one, under another name, in the same file."""

    def __init__(self, directory: Path, name: str) -> None:
        self._name = name
        self._life = 0
        self._index = -1
        self._file = (directory / f"{name}.jsonl").open("ab", buffering=0)

    @property
    def process(self) -> str:
        return f"{self._name}/{self._life}"

    def invoke(self, f: str, *, at_ns: int | None = None, **fields: Any) -> int:
        self._index += 1
        self._write(self._index, f, "invoke", at_ns, fields)
        return self._index

    def complete(self, index: int, f: str, phase: str, **fields: Any) -> None:
        self._write(index, f, phase, None, fields)

    def note(self, f: str, *, invoked_ns: int, phase: str = "ok", **fields: Any) -> None:
        """Something that is only worth two lines now that it is known what came of it: reads."""
        self.complete(self.invoke(f, at_ns=invoked_ns), f, phase, **fields)

    def retire(self) -> None:
        self._life += 1
        self._index = -1

    def close(self) -> None:
        self._file.close()

    def _write(self, index: int, f: str, phase: str, at_ns: int | None, fields: dict[str, Any]) -> None:
        event = Event(
            process=self.process,
            index=index,
            f=f,
            phase=phase,
            at_ns=time.monotonic_ns() if at_ns is None else at_ns,
            wall_ms=time.time_ns() // 1_000_000,
            **fields,
        )
        self._file.write(encode(event))
