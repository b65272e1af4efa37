"""Throttling as KIP-219: the answer leaves at once and says how long, then the session stops reading for that time.

Called where an answer is made. What must stay true: nothing here is reached while no quota is set (``quotas.active``),
and the internal listener is never throttled. The user is always ANONYMOUS until there is authentication.
"""

from __future__ import annotations

import time
import types
from collections.abc import Awaitable, Generator
from typing import Any

from broker.handlers.context import Request, Services
from broker.quotas.driver import Quotas
from broker.quotas.table import Client

ANONYMOUS = "ANONYMOUS"


def throttle_produce(request: Request, services: Services) -> None:
    """Counts the request once, whenever it is answered; its answer tells ``request.throttle_ms``."""
    quotas = services.quotas
    if quotas.active and request.connection.listener != "internal":
        request.throttle_ms = _throttle(request, quotas, quotas.produced(_client(request), len(request.body)))


def fetch_bytes_max(request: Request, services: Services, byte_count: int) -> int:
    """``byte_count``, or less where that is more than is left of the client's quota."""
    quotas = services.quotas
    if not quotas.active or request.connection.listener == "internal":
        return byte_count
    room = quotas.fetch_bytes_max(_client(request))
    return byte_count if room is None else min(byte_count, room)


def fetch_throttle_ms(request: Request, services: Services, byte_count: int) -> int:
    """Above 0 the answer must carry no records: they are asked for again after the wait and counted then.

    A client waits for what it has had, never for what it asks for: a batch that is larger than all it may have at once
    could otherwise never be fetched.
    """
    quotas = services.quotas
    if not quotas.active or request.connection.listener == "internal":
        return 0
    client = _client(request)
    wait_ms = _throttle(request, quotas, quotas.fetch_wait_ms(client))
    if not wait_ms:
        quotas.fetched(client, byte_count)
    return wait_ms


def request_throttle_ms(request: Request, quotas: Quotas) -> int:
    """For every other request: only its time counts."""
    return _throttle(request, quotas, 0)


def is_timed(request: Request, quotas: Quotas) -> bool:
    return quotas.timing and request.connection.listener != "internal"


def _throttle(request: Request, quotas: Quotas, wait_ms: int) -> int:
    connection = request.connection
    request.pause()
    if request.busy_ns:
        wait_ms = max(wait_ms, quotas.worked(_client(request), request.busy_ns))
        request.busy_ns = 0
    if wait_ms:
        quotas.note_throttled(wait_ms)
        connection.mute_ms = max(connection.mute_ms, wait_ms)
    return wait_ms


def _client(request: Request) -> Client:
    return ANONYMOUS, request.client_id or ""


@types.coroutine
def timed(request: Request, work: Awaitable[Any]) -> Generator[Any, Any, Any]:
    """Await ``work`` and count the time it spends running, not the time it waits."""
    steps = work.__await__()
    resume: Any = None
    failure: BaseException | None = None
    while True:
        began_ns = time.perf_counter_ns()
        try:
            awaited = steps.send(resume) if failure is None else steps.throw(failure)
        except StopIteration as finished:
            return finished.value
        finally:
            request.busy_ns += time.perf_counter_ns() - began_ns
        failure = None
        try:
            resume = yield awaited
        except BaseException as error:  # noqa: BLE001 - handed on to the work, which is who it was thrown at
            failure = error
