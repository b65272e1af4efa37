"""Something that goes on in a thread while a test does something else."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

JOIN_SECONDS_MAX = 60.0


class InThread(ABC):
    """``with``: ``turn`` is called again and again, until the block ends; then ``close``, when no turn runs any more."""

    def __init__(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._turns, daemon=True)

    @abstractmethod
    def turn(self) -> None:
        """One of many; it ends by itself within moments."""

    @abstractmethod
    def close(self) -> None: ...

    def end_turns(self) -> None:
        """Returns when the last turn is over."""
        self._stopping.set()
        self._thread.join(JOIN_SECONDS_MAX)
        assert not self._thread.is_alive(), "a turn does not end"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_turns()
        self.close()

    def _turns(self) -> None:
        while not self._stopping.is_set():
            self.turn()
