"""Is a role that runs alone doing its work? For container health checks, where there is no supervisor to ask.

Every sign is one the role leaves anyway: the collector's pulse, the worker's heartbeat, the schedule file beat
writes after each task it sent, the web server's own answer.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from pathlib import Path

import redis
from django.conf import settings

from broker.jobs.health import WORKER_SILENT_SECONDS
from broker.jobs.heartbeat import seconds_since_seen
from broker.supervisor.options import options_from_environment
from dashboard.demo.names import CURRENT_GROUP
from dashboard.live.state import GROUPS, GroupRow
from dashboard.live.store import StoreError, readable_store

COLLECTOR_SILENT_SECONDS = 15.0
BEAT_SILENT_SECONDS = 4.0 * settings.RETENTION_INTERVAL_SECONDS
WEB_ANSWER_SECONDS = 5.0


class Unhealthy(Exception):
    """Why, in a sentence."""


def check(role: str, environ: dict[str, str]) -> None:
    """Returns when the role is well, raises ``Unhealthy`` when not."""
    CHECKS[role](environ)


def _collector(environ: dict[str, str]) -> None:
    try:
        pulse = readable_store().read(()).pulse
    except StoreError as error:
        raise Unhealthy(str(error)) from error
    _must_be_recent(
        "the collector has not published",
        time.time() - pulse.made_at_ms / 1000 if pulse else None,
        COLLECTOR_SILENT_SECONDS,
    )


def _worker(environ: dict[str, str]) -> None:
    try:
        _must_be_recent("no worker was seen", seconds_since_seen(), WORKER_SILENT_SECONDS)
    except redis.RedisError as error:
        raise Unhealthy(f"Redis cannot be asked: {error}") from error


def _beat(environ: dict[str, str]) -> None:
    schedule = Path(settings.CELERY_BEAT_SCHEDULE_FILENAME)
    written = [path.stat().st_mtime for path in schedule.parent.glob(f"{schedule.name}*")]
    _must_be_recent("beat has sent nothing", time.time() - max(written) if written else None, BEAT_SILENT_SECONDS)


def _web(environ: dict[str, str]) -> None:
    """The server itself; that brokers are away is their own failed check."""
    endpoint = options_from_environment(environ).http.reachable()
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=WEB_ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise Unhealthy(f"http://{endpoint}/ does not answer: {error}") from error
    finally:
        connection.close()
    if status not in (200, 503):
        raise Unhealthy(f"http://{endpoint}/healthz answers {status}")


def _demo(environ: dict[str, str]) -> None:
    try:
        group = readable_store().read([GROUPS]).rows(GROUPS).get(f"group:{CURRENT_GROUP}")
    except StoreError as error:
        raise Unhealthy(str(error)) from error
    if not isinstance(group, GroupRow) or not group.member_count:
        raise Unhealthy(f"the group {CURRENT_GROUP} has no members")


def _must_be_recent(what: str, age_seconds: float | None, limit_seconds: float) -> None:
    if age_seconds is None:
        raise Unhealthy(f"{what} yet")
    if age_seconds > limit_seconds:
        raise Unhealthy(f"{what} for {age_seconds:.0f} s")


CHECKS: dict[str, Callable[[dict[str, str]], None]] = {
    "collector": _collector,
    "worker": _worker,
    "beat": _beat,
    "web": _web,
    "demo": _demo,
}
