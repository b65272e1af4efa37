"""Ends the sessions of a loop that hangs.

A store with servers of its own is told by a library's thread that this process lives. The thread goes on when the event loop does not,
and a broker that answers nobody would stay leader. So a session has a deadline of its own, which only the loop moves; this thread looks at
it, on the monotonic clock, and gives the session up when it has passed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from broker.clock import Clock

LOOK_SECONDS = 0.25


class SessionGuard:
    def __init__(self, clock: Clock, give_up: Callable[[str], None]) -> None:
        """``give_up(session)`` is called in the guard's thread, once, and must not block."""
        self._clock = clock
        self._give_up = give_up
        self._deadlines: dict[str, float] = {}
        """Entries are set and taken whole, which the interpreter does in one step."""
        self._expired: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session-guard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def extend(self, session: str, timeout_ms: int) -> None:
        """The loop is alive. Too late for one that was given up."""
        if session not in self._expired:
            self._deadlines[session] = self._clock.monotonic() + timeout_ms / 1000

    def gave_up(self, session: str) -> bool:
        return session in self._expired

    def forget(self, session: str) -> None:
        self._deadlines.pop(session, None)
        self._expired.discard(session)

    def look(self) -> None:
        for session, deadline in list(self._deadlines.items()):
            if self._clock.monotonic() > deadline and self._deadlines.get(session) == deadline:
                self._expired.add(session)
                self._deadlines.pop(session, None)
                self._give_up(session)

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self.look()
