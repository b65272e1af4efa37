"""What happened in a run: the last events in words, and a digest of all of them that shows whether two runs were the same."""

from __future__ import annotations

import logging
import zlib
from collections import deque
from collections.abc import Callable

from broker.errors import KafkaError
from broker.metadata.store import StoreError
from tests.simulation.loop import CURRENT

LINES_MAX = 400
EXPECTED = (KafkaError, StoreError, OSError)


class Trace(logging.Handler):
    """Also takes what the brokers log."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(logging.INFO)
        self.digest = 0
        self.messages = 0
        self.ended = False
        """What is said from now on is said by what is thrown away."""
        self.faults: list[str] = []
        """Exceptions that a broker logged and that no fault from outside explains."""
        self._now = now
        self._lines: deque[str] = deque(maxlen=LINES_MAX)

    def note(self, who: str, what: str) -> None:
        line = f"{self._now():12.6f} {who:<10} {what}"
        self._lines.append(line)
        self._fold(line)

    def count(self, source: str, target: str, size: int) -> None:
        """A message is sent: too many for words."""
        self.messages += 1
        self._fold(f"{self._now():.6f}{source}>{target}:{size}")

    def emit(self, record: logging.LogRecord) -> None:
        if self.ended:
            return
        process = CURRENT.get()
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text += f" [{error!r}]"
        who = "" if process is None else process.name
        self.note(who, f"{record.levelname} {text}")
        if error is not None and not isinstance(error, EXPECTED):
            self.faults.append(f"{who}: {text}")

    def text(self) -> str:
        return "\n".join(self._lines)

    def _fold(self, line: str) -> None:
        self.digest = zlib.crc32(line.encode(), self.digest)
