"""Wait for a condition with a deadline instead of sleeping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_until(condition: Callable[[], Value], what: str, *, seconds: float = 20.0) -> Value:
    """The first true value of ``condition``; ``AssertionError`` naming ``what`` when the deadline passes."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


async def eventually(condition: Callable[[], object], *, seconds: float = 20.0) -> None:
    """The same on an event loop, which must keep running for the condition to become true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a test's condition is not an event
            await asyncio.sleep(0.001)
