"""Who may keep a WebSocket open, and how much may be said on it. Shared by every consumer of the dashboard.

The origin allow-list stands in front of all of them (``project/origin.py``); what is here comes after it: a client
that sends no origin is no page of ours, the session is looked at again while the socket lives, and nobody opens
sockets or sends messages without bound.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase


def has_origin(scope: dict[str, Any]) -> bool:
    return any(name == b"origin" and value for name, value in scope.get("headers", ()))


def is_admitted(scope: dict[str, Any]) -> bool:
    """At the handshake: a page of ours, a person who is signed in."""
    user = scope.get("user")
    return bool(has_origin(scope) and user is not None and user.is_authenticated and user.is_active)


async def is_still_allowed(scope: dict[str, Any], user_id: Any) -> bool:
    """Whether the session still exists and its user is still the same and active, as the database has it now."""
    session = scope.get("session")
    if session is None or not session.session_key:
        return False
    fresh = await database_sync_to_async(_load_session)(session.session_key)
    if fresh is None:
        return False
    user = await get_user({"session": fresh})
    return bool(user.is_authenticated and user.is_active and user.pk == user_id)


def _load_session(key: str) -> SessionBase | None:
    """As the database has it now, or None when it has ended."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    return session if session.exists(key) else None


class Allowance:
    """So many messages a second, twice as many at once."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = 2 * per_second
        self._at = clock()

    def take(self) -> bool:
        now = self._clock()
        grown = self._left + (now - self._at) * self._per_second
        self._left, self._at = min(2 * self._per_second, grown) - 1, now
        return self._left >= 0


class Seats:
    """Open sockets per user, of this process."""

    def __init__(self, per_user_max: int, all_max: int) -> None:
        self._per_user_max = per_user_max
        self._all_max = all_max
        self._taken: Counter[Any] = Counter()

    def take(self, user_id: Any) -> bool:
        if self._taken[user_id] >= self._per_user_max or self._taken.total() >= self._all_max:
            self._drop_zero(user_id)
            return False
        self._taken[user_id] += 1
        return True

    def release(self, user_id: Any) -> None:
        self._taken[user_id] -= 1
        self._drop_zero(user_id)

    @property
    def count(self) -> int:
        return self._taken.total()

    def _drop_zero(self, user_id: Any) -> None:
        if self._taken[user_id] <= 0:
            del self._taken[user_id]
