"""Waiting until every session has acknowledged a revision, for stores in which somebody has to look whether it has.

One per store, on its event loop. ``look`` asks; ``news`` says that looking may be worth it now.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable


class Acknowledgements:
    def __init__(self, look: Callable[[int], Awaitable[bool]], *, look_seconds: float) -> None:
        """``look``: whether everybody has acknowledged this revision. ``look_seconds``: how often to ask without being told."""
        self._look = look
        self._look_seconds = look_seconds
        self._waiting: set[asyncio.Event] = set()

    def news(self) -> None:
        for changed in self._waiting:
            changed.set()

    async def wait(self, revision: int, timeout_seconds: float) -> bool:
        """False when the time is over."""
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(timeout_seconds):
                while not await self._look(revision):
                    with contextlib.suppress(TimeoutError):  # word of it may have been lost: look again anyway
                        await asyncio.wait_for(changed.wait(), self._look_seconds)
                    changed.clear()
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(changed)
        return True
