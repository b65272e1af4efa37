"""``GET /healthz``: do the brokers answer? For load balancers and container health checks; no login.

200 with ``ok`` or ``degraded`` while at least one broker answers, 503 with ``unavailable`` otherwise. Brokers
are really asked, but at most once a second however often the address is hit.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import redis
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from broker.client.ping import ping
from broker.supervisor.options import Endpoint, parse_endpoint

PROBE_SECONDS = 1.5
REMEMBER_SECONDS = 1.0
PROBES_AT_ONCE_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    brokers_expected: int
    brokers_answering: int
    redis_answering: bool

    @property
    def status(self) -> str:
        if not self.brokers_answering:
            return "unavailable"
        if self.brokers_answering < self.brokers_expected or not self.redis_answering:
            return "degraded"
        return "ok"


_lock = threading.Lock()
_last: tuple[float, Health] | None = None


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    health = current_health()
    body = {
        "status": health.status,
        "brokers": {"expected": health.brokers_expected, "answering": health.brokers_answering},
        "redis": "ok" if health.redis_answering else "unavailable",
    }
    response = JsonResponse(
        body, status=200 if health.brokers_answering else 503, headers={"Cache-Control": "no-store"}
    )
    # Whoever polls reads the answer; Django would write each 503 into the log as an error.
    vars(response)["_has_been_logged"] = True
    return response


def current_health() -> Health:
    """The last probe's result while it is fresh, else a new probe; callers at the same moment share one."""
    global _last
    with _lock:
        if _last is None or time.monotonic() - _last[0] > REMEMBER_SECONDS:
            _last = (time.monotonic(), probe())
        return _last[1]


def probe() -> Health:
    endpoints = [parse_endpoint(item, "OTTLA_BOOTSTRAP") for item in settings.OTTLA_BOOTSTRAP]
    with ThreadPoolExecutor(max_workers=min(PROBES_AT_ONCE_MAX, len(endpoints) + 1)) as pool:
        redis_answer = pool.submit(_redis_answers)
        answers = list(pool.map(_broker_answers, endpoints))
        return Health(
            brokers_expected=len(endpoints), brokers_answering=sum(answers), redis_answering=redis_answer.result()
        )


def _broker_answers(endpoint: Endpoint) -> bool:
    try:
        ping(endpoint.host, endpoint.port, PROBE_SECONDS)
    except OSError:
        return False
    return True


def _redis_answers() -> bool:
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=PROBE_SECONDS, socket_connect_timeout=PROBE_SECONDS
        ) as connection:
            return bool(connection.ping())
    except (redis.RedisError, OSError):
        return False
