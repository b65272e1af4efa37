"""kazoo on an event loop: the only module that knows kazoo.

Owns: the client with its three threads, the way of every answer from them to the loop, and the translation of kazoo's errors.
Called on the loop, but for ``delete_from_thread``.

- kazoo's callbacks run on its threads: they only hand over to the loop, and never wait.
- A request is given to kazoo only while it is connected, or kazoo would keep it and send it whenever the servers are back, long after
  whoever asked was told that it failed. Every request ends: with an answer, with the connection, or when the store is closed.
- ``Interrupted`` says that the connection was lost in between: a change may or may not have happened. What only reads is asked again.
- Watches are only hints. kazoo drops them with the connection; ``on_event`` is called then too, and again when there is a new one,
  so that the reader looks at everything again and arms them anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    KazooException,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    RolledBackError,
    RuntimeInconsistency,
    SessionExpiredError,
)
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import KazooState
from kazoo.retry import KazooRetry

from broker.metadata.store import StoreUnavailable

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_SECONDS_MAX = 1.5
"""For one server: one that does not answer must not use up the session's time that the others could save."""
RECONNECT_PAUSE_SECONDS_MAX = 1.0
CLOSE_SECONDS_MAX = 2.0
NEWS_UNDER_WAY_SECONDS = 0.01
"""How long to wait when kazoo's thread knows of a lost connection and the loop does not yet."""
READS_AT_ONCE = 64
"""Requests of one reader that wait for their answers at the same time."""

_LOST = (ConnectionLoss, ConnectionClosedError, SessionExpiredError, OperationTimeoutError)
_REFUSED = (BadVersionError, NodeExistsError, NoNodeError, NotEmptyError)

Operation = tuple[Any, ...]
"""One step of ``change``: ("create", path, value, ephemeral), ("set", path, value, version), ("delete", path, version) or
("check", path, version)."""


class Interrupted(StoreUnavailable):
    """The connection was lost before the answer came: whether it happened is unknown."""


class Refused(Exception):
    """Nothing of a change happened, because of its step ``index``: a node is missing, exists, or has another version."""

    def __init__(self, index: int, reason: Exception) -> None:
        super().__init__(f"step {index}: {type(reason).__name__}")
        self.index = index
        self.reason = reason


class ZookeeperConnection:
    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        chroot: str,
        *,
        session_timeout_ms: int,
        on_event: Callable[[str], None],
    ) -> None:
        """``on_event`` is called on the loop with the path below the chroot that changed; with "" for anything at all."""
        self._chroot = chroot
        self._on_event = on_event
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connected = asyncio.Event()
        self._waiting: set[asyncio.Future[Any]] = set()
        self._closed = False
        self.description = ",".join(f"{host}:{port}" for host, port in servers) + chroot
        quiet = logging.getLogger(f"{__name__}.kazoo")
        quiet.setLevel(logging.ERROR)
        self._client = KazooClient(
            hosts=[f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in servers],
            timeout=session_timeout_ms / 1000,
            handler=_Handler(),
            connection_retry=KazooRetry(
                max_tries=-1, delay=0.05, backoff=2, max_jitter=0.3, max_delay=RECONNECT_PAUSE_SECONDS_MAX
            ),
            logger=quiet,
        )

    async def open(self, timeout_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._client.add_listener(self._on_state)
        self._client.start_async()
        await self.wait_connected(timeout_seconds)

    async def close(self) -> None:
        """Ends the session. Where the servers do not answer this takes a moment and no more."""
        if self._closed:
            return
        self._closed = True
        self._connected.set()
        for future in self._waiting:
            if not future.done():
                future.set_exception(StoreUnavailable("the metadata store is closed"))
        if self._loop is None:
            return
        stopped: asyncio.Future[None] = self._loop.create_future()
        # A thread of its own: one of the loop's would keep the process from ending for as long as it takes.
        threading.Thread(target=self._stop, args=(stopped,), name="zookeeper-stop", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await stopped

    @property
    def connected(self) -> bool:
        return self._connected.is_set() and not self._closed

    async def wait_connected(self, timeout_seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._connected.wait()
        self._require_open()
        if not self._connected.is_set():
            raise StoreUnavailable(f"ZooKeeper at {self.description} does not answer")

    # Reading: asked again after a lost connection, for as long as the caller waits -------------------------

    async def get(self, path: str, *, watch: bool = False) -> tuple[bytes, int] | None:
        """Value and version, or None."""
        return (await self.get_all([path], watch=watch))[0]

    async def get_all(self, paths: Sequence[str], *, watch: bool = False) -> list[tuple[bytes, int] | None]:
        """The same for several, answered as of one moment or later ones, in order."""
        watcher = self._on_watch if watch else None
        found: list[tuple[bytes, int] | None] = []
        for start in range(0, len(paths), READS_AT_ONCE):
            some = [self._chroot + path for path in paths[start : start + READS_AT_ONCE]]
            found += await self._read(lambda some=some: [self._client.get_async(path, watcher) for path in some])  # type: ignore[misc]
        return [None if each is None else (each[0], each[1].version) for each in found]  # type: ignore[attr-defined]

    async def get_now(self, path: str, *, watch: bool = False) -> tuple[bytes, int] | None:
        """As ``get``, after everything that was committed before this call."""
        full, watcher = self._chroot + path, self._on_watch if watch else None
        _, found = await self._read(lambda: [self._client.sync_async(full), self._client.get_async(full, watcher)])
        return None if found is None else (found[0], found[1].version)

    async def children_now(self, path: str, *, watch: bool = False) -> list[str]:
        full, watcher = self._chroot + path, self._on_watch if watch else None
        _, found = await self._read(
            lambda: [self._client.sync_async(full), self._client.get_children_async(full, watcher)]
        )
        return found or []

    async def _read(self, ask: Callable[[], list[Any]]) -> list[Any]:
        while True:
            await self._wait_for_connection()
            try:
                return await self._all(ask())
            except Interrupted:
                self._require_open()
                await asyncio.sleep(0)

    # Changing -------------------------------------------------------------------------------------------

    async def change(self, *operations: Operation) -> list[Any]:
        """All of them or none. Raises ``Refused`` or ``Interrupted``."""
        await self._wait_for_connection()
        request = self._client.transaction()
        for kind, path, *arguments in operations:
            match kind:
                case "create":
                    value, ephemeral = arguments
                    request.create(self._chroot + path, value, ephemeral=ephemeral)
                case "set":
                    request.set_data(self._chroot + path, *arguments)
                case "delete":
                    request.delete(self._chroot + path, *arguments)
                case _:
                    request.check(self._chroot + path, *arguments)
        results = await self._answer(request.commit_async())
        for index, result in enumerate(results):
            if isinstance(result, Exception) and not isinstance(result, RolledBackError | RuntimeInconsistency):
                if isinstance(result, _REFUSED):
                    raise Refused(index, result)
                raise StoreUnavailable(f"ZooKeeper refuses {operations[index][:2]}: {result!r}")
        assert not any(isinstance(result, Exception) for result in results), results
        return list(results)

    async def create(self, path: str, value: bytes = b"") -> bool:
        """A lasting node; False if it is there already. ``Refused`` if its parent is missing. Asked again like what reads."""
        while True:
            try:
                await self.change(("create", path, value, False))
            except Interrupted:
                continue
            except Refused as refused:
                if isinstance(refused.reason, NodeExistsError):
                    return False
                raise
            return True

    async def create_chroot(self) -> None:
        while True:
            await self._wait_for_connection()
            try:
                await self._answer(self._client.ensure_path_async(self._chroot))
            except Interrupted:
                continue
            return

    def delete_from_thread(self, path: str) -> None:
        """For a thread that watches over the loop, which may hang. Nobody is told how it ended."""
        if self._client.connected and not self._closed:
            self._client.delete_async(self._chroot + path)

    # Between the threads ----------------------------------------------------------------------------------

    async def _wait_for_connection(self) -> None:
        while True:
            await self._connected.wait()
            self._require_open()
            if self._client.connected:
                return
            await asyncio.sleep(NEWS_UNDER_WAY_SECONDS)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the metadata store is closed")

    async def _all(self, results: list[Any]) -> list[Any]:
        """The answers in order, None for nodes that are not there. Waits for all before it raises."""
        answers = await asyncio.gather(*(self._answer(result) for result in results), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, NoNodeError):
                raise answer
        return [None if isinstance(answer, NoNodeError) else answer for answer in answers]

    def _answer(self, result: Any) -> Awaitable[Any]:
        assert self._loop is not None
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)
        # On kazoo's thread, or here if it is known already.
        result.rawlink(lambda answered: self._on_loop(_settle, future, answered))
        return future

    def _on_loop(self, callback: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _on_state(self, state: str) -> None:
        self._on_loop(self._changed_state, state)

    def _changed_state(self, state: str) -> None:
        if self._closed:
            return
        if state == KazooState.CONNECTED:
            log.info("metadata: connected to ZooKeeper at %s", self.description)
            self._connected.set()
        elif self._connected.is_set():
            log.warning("metadata: the connection to ZooKeeper at %s is lost (%s)", self.description, state)
            self._connected.clear()
        self._on_event("")

    def _on_watch(self, event: Any) -> None:
        self._on_loop(self._watched, event.path)

    def _watched(self, path: str | None) -> None:
        if not self._closed:
            self._on_event((path or "").removeprefix(self._chroot))

    def _stop(self, stopped: asyncio.Future[None]) -> None:
        try:
            self._client.stop()
            self._client.close()
        except Exception as error:  # noqa: BLE001 - kazoo gives up waiting for its own thread in several ways
            log.warning("metadata: the connection to ZooKeeper did not close in order: %s", error)
        self._on_loop(_finish, stopped)


class _Handler(SequentialThreadingHandler):
    def create_connection(self, *arguments: Any, **options: Any) -> Any:
        options["timeout"] = min(options.get("timeout") or CONNECT_SECONDS_MAX, CONNECT_SECONDS_MAX)
        return super().create_connection(*arguments, **options)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _settle(future: asyncio.Future[Any], answered: Any) -> None:
    if future.done():
        return
    error = answered.exception
    if error is None:
        future.set_result(answered.value)
    elif isinstance(error, _LOST):
        future.set_exception(Interrupted("the connection to ZooKeeper was lost"))
    elif isinstance(error, _REFUSED):
        future.set_exception(error)
    elif isinstance(error, KazooException):
        future.set_exception(StoreUnavailable(f"ZooKeeper: {error!r}"))
    else:
        future.set_exception(error)
