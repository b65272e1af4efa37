"""A Celery worker's sign of life, and how old it is.

The worker's event loop writes one key every ``HEARTBEAT_SECONDS`` (``worker_step.py``). The age is measured by Redis' clock from the key's remaining life, so the
clocks of different machines do not matter. A worker that is alive but does no work is seen by its overdue jobs
instead, see ``health.py``.
"""

from __future__ import annotations

import functools
import logging

import redis
from django.conf import settings

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
KEY = "ottla:worker:seen"
_KEPT_MS = 7 * 24 * 3600 * 1000
_TIMEOUT_SECONDS = 1.0


def beat(hostname: str) -> None:
    """Say that a worker is alive. Redis being away is the worker's own trouble, reported by Celery."""
    try:
        _redis().set(KEY, hostname, px=_KEPT_MS)
    except redis.RedisError as error:
        logger.warning("cannot write the worker's sign of life: %s", error)


def seconds_since_seen() -> float | None:
    """Age of the latest sign of life; None when there was none for a week. Raises ``redis.RedisError``."""
    remaining_ms = _redis().pttl(KEY)
    if not isinstance(remaining_ms, int) or remaining_ms < 0:
        return None
    return max(0.0, (_KEPT_MS - remaining_ms) / 1000)


def _redis() -> redis.Redis:
    return _connected(settings.REDIS_URL)


@functools.lru_cache(maxsize=4)
def _connected(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=_TIMEOUT_SECONDS)
