"""An ``AsyncClient`` for code without an event loop: its loop runs in a thread of its own, which all callers share.

What the calls are is for who derives from it (``blocking.py``). After a fork the child's first call starts afresh: sockets of the
parent are never used by the child. Every call ends within its deadline.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from broker.client.addresses import parse_bootstrap
from broker.client.asynchronous import AsyncClient
from broker.client.connection import CONNECT_TIMEOUT_SECONDS
from broker.client.errors import ClientTimeoutError
from broker.client.loop_thread import LoopThread
from broker.client.router import REQUEST_TIMEOUT_SECONDS

CALL_ATTEMPTS_TIME_FACTOR = 3
"""A call may look up leaders and try again: all of it gets this many request timeouts."""

Result = TypeVar("Result")
Work = Callable[[AsyncClient], Coroutine[Any, Any, Result]]


class OnThread:
    """``bootstrap``: client listeners, or internal ones together with ``secret``."""

    def __init__(
        self,
        bootstrap: str | Iterable[str],
        secret: bytes | None = None,
        *,
        client_id: str = "ottla",
        request_timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    ) -> None:
        self._bootstrap = [str(address) for address in parse_bootstrap(bootstrap)]
        self._secret = secret
        self._client_id = client_id
        self._request_timeout_seconds = request_timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds
        self._starting = threading.Lock()
        self._started: tuple[LoopThread, AsyncClient] | None = None
        _clients.add(self)

    def close(self) -> None:
        """Close connections and end the thread. A later call starts again."""
        with self._starting:
            started, self._started = self._started, None
        if started is None:
            return
        thread, client = started
        try:
            thread.run(client.close(), self._request_timeout_seconds)
        finally:
            thread.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, work: Work[Result], *, extra_seconds: float = 0.0) -> Result:
        thread, client = self._started or self._start()
        seconds = self._request_timeout_seconds * CALL_ATTEMPTS_TIME_FACTOR + extra_seconds
        try:
            return thread.run(work(client), seconds)
        except TimeoutError:
            raise ClientTimeoutError(f"no result within {seconds:g} s", maybe_sent=True) from None

    def _start(self) -> tuple[LoopThread, AsyncClient]:
        with self._starting:
            if self._started is None:
                client = AsyncClient(
                    self._bootstrap,
                    self._secret,
                    client_id=self._client_id,
                    request_timeout_seconds=self._request_timeout_seconds,
                    connect_timeout_seconds=self._connect_timeout_seconds,
                )
                self._started = (LoopThread(f"kafka client {self._bootstrap[0]}"), client)
            return self._started


_clients: weakref.WeakSet[OnThread] = weakref.WeakSet()
_inherited: list[object] = []
"""Loops of the parent process. Freeing one would unregister sockets in the selector both processes share."""


def _start_afresh_in_child() -> None:
    for client in list(_clients):
        if client._started is not None:
            _inherited.append(client._started)
        client._started = None
        client._starting = threading.Lock()


os.register_at_fork(after_in_child=_start_afresh_in_child)
