"""The coordination store as a port: what the control plane needs from SQLite, ZooKeeper or another store.

A store is a map of keys to small values with one total order of commits. Promises, which the contract suite in
tests/metadata/contract.py puts to every adapter:

- A commit is atomic over all its keys and happens only if all its preconditions hold. Its ``revision`` is larger than
  that of every earlier commit, and an entry's ``version`` is the revision of the commit that last wrote it, so a key
  that was deleted and made again never has an old version.
- A commit that returned is durable. One that raised ``StoreUnavailable`` may or may not have happened; its preconditions
  make a retry safe.
- ``watch`` yields every commit after a revision, once, in order, with nothing in between left out; or it raises
  ``RevisionCompacted`` and the reader starts again from ``range``.
- An ephemeral key lives no longer than its session. A session ends when closed, when its holder is known to be dead, or
  when it was not renewed for its timeout on a clock that does not jump.

Keys are paths without a leading slash (``topics/orders``); values are bytes the store does not look into.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    key: str
    value: bytes
    version: int
    """Revision of the commit that last wrote this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All entries below a prefix as of ``revision``; watching from there misses nothing."""

    revision: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One change set as watchers see it. A key is in one of the two only."""

    revision: int
    puts: tuple[Entry, ...] = ()
    deletes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exists:
    key: str


@dataclass(frozen=True, slots=True)
class Absent:
    key: str


@dataclass(frozen=True, slots=True)
class VersionIs:
    key: str
    version: int


Precondition = Exists | Absent | VersionIs


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    preconditions: Sequence[Precondition] = ()
    puts: Mapping[str, bytes] = field(default_factory=dict)
    deletes: Sequence[str] = ()
    """Deleting a key that is absent is not an error; use ``Exists`` where it should be."""
    ephemeral_puts: Mapping[str, bytes] = field(default_factory=dict)
    """Keys that live no longer than ``session``, which must be open: else ``SessionExpired`` and nothing is written."""
    session: str | None = None


class StoreError(Exception):
    """Base of what a store may raise."""


class PreconditionFailed(StoreError):
    """Nothing was written. ``revision`` is the store's at that moment: a reader that has seen it can decide anew."""

    def __init__(self, precondition: Precondition, revision: int) -> None:
        super().__init__(f"{precondition} does not hold at revision {revision}")
        self.precondition = precondition
        self.revision = revision


class SessionExpired(StoreError):
    """The session is gone, and with it its ephemeral keys. Open a new one."""


class SessionNameTaken(StoreError):
    """A living holder has a session of this name."""


class RevisionCompacted(StoreError):
    """The changes asked for are no longer kept. Read a snapshot and watch from there."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or failed. Whether a commit happened is unknown."""


class MetadataStore(Protocol):
    async def start(self) -> None: ...

    async def close(self) -> None:
        """Give up everything, own sessions included. Watches end."""

    async def get(self, key: str) -> Entry | None: ...

    async def range(self, prefix: str = "") -> Snapshot: ...

    async def commit(self, transaction: Transaction) -> int:
        """The revision of the commit; if nothing changed (no puts, no key deleted) the current one."""

    async def open_session(self, name: str, timeout_ms: int) -> str:
        """A session id. A former session of this name whose holder is dead ends now.

        ``SessionNameTaken`` if the holder lives, even when its session ran out: it holds the name until it closes it.
        """

    async def renew_session(self, session: str) -> None:
        """Raises ``SessionExpired``."""

    async def close_session(self, session: str) -> None:
        """Its ephemeral keys go in one commit. Closing one that is gone is not an error."""

    async def expire_sessions(self) -> int:
        """End the sessions of others that are overdue or dead; how many. Stores with a server of their own return 0: it ends
        them, and the store deletes their keys without being asked."""

    async def acknowledge(self, session: str, revision: int) -> None:
        """Let the others know that this session's holder acts on everything up to ``revision``. Best effort."""

    async def wait_acknowledged(self, revision: int, timeout_seconds: float) -> bool:
        """Wait until every session has acknowledged ``revision`` or ended; False if that takes too long."""

    def watch(self, after_revision: int) -> AsyncGenerator[Commit, None]:
        """Commits with a revision > ``after_revision``, for as long as the store is open."""
