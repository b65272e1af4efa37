"""The store's contents as a fold of its log: what stores without a database of their own keep in memory.

Pure. Owns: what a log entry does to the contents, which keys belong to which session, and the newest commits for watchers.
Every holder of the same log has the same contents, for the fold uses nothing but them:

- entries are applied in order, without a gap: ``revision`` grows by one each;
- what an entry deletes is decided here: of the keys it names, those that are there;
- an entry that ends a session deletes the keys that are the session's at that moment, so a second one does nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from broker.metadata.store import (
    Absent,
    Commit,
    Entry,
    Exists,
    Precondition,
    RevisionCompacted,
    Snapshot,
    Transaction,
)

HISTORY_COMMITS_MAX = 1_000
"""Newest commits kept for watchers; one that is further behind reads a snapshot."""
HISTORY_BYTES_MAX = 16 * 1024 * 1024
"""The same in bytes of keys and values. The newest commit is kept however large it is."""


class LogEntry(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """One commit as it is written. New fields go to the end and have defaults."""

    id: bytes
    """Chosen by the writer, to recognise its own commit after an answer was lost."""
    puts: dict[str, bytes] = {}
    deletes: list[str] = []
    ephemeral_puts: dict[str, bytes] = {}
    session: str = ""
    """Whose the ephemeral keys are."""
    ends: str = ""
    """The session that ends with this commit."""


class KeptEntry(msgspec.Struct, frozen=True, array_like=True):
    """One key as a snapshot keeps it."""

    key: str
    value: bytes
    version: int
    session: str = ""


class Image(msgspec.Struct, frozen=True, array_like=True):
    """All of it, as a snapshot keeps it."""

    revision: int
    entries: list[KeptEntry]


@dataclass(frozen=True, slots=True)
class _Past:
    commit: Commit
    id: bytes
    size: int


class Replica:
    def __init__(self) -> None:
        self.revision = 0
        self.bytes_applied = 0
        """Of keys and values of all entries applied so far."""
        self._entries: dict[str, Entry] = {}
        self._owners: dict[str, str] = {}
        self._history: deque[_Past] = deque()
        self._history_bytes = 0

    # Reading ---------------------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def range(self, prefix: str) -> Snapshot:
        found = sorted(key for key in self._entries if key.startswith(prefix))
        return Snapshot(revision=self.revision, entries=tuple(self._entries[key] for key in found))

    def broken(self, preconditions: Iterable[Precondition]) -> Precondition | None:
        """The first that does not hold."""
        for precondition in preconditions:
            entry = self._entries.get(precondition.key)
            match precondition:
                case Exists():
                    holds = entry is not None
                case Absent():
                    holds = entry is None
                case _:
                    holds = entry is not None and entry.version == precondition.version
            if not holds:
                return precondition
        return None

    def has_effect(self, transaction: Transaction) -> bool:
        return bool(transaction.puts or transaction.ephemeral_puts) or any(
            key in self._entries for key in transaction.deletes
        )

    def sessions_with_keys(self) -> frozenset[str]:
        return frozenset(self._owners.values())

    def changes_after(self, revision: int) -> list[Commit]:
        """Raises ``RevisionCompacted`` if they are not all in memory any more."""
        missing = self.revision - revision
        if not 0 <= missing <= len(self._history):
            raise RevisionCompacted(f"changes after revision {revision} are gone (now {self.revision})")
        return [self._history[index].commit for index in range(len(self._history) - missing, len(self._history))]

    def id_at(self, revision: int) -> bytes | None:
        """Of the entry that made this revision; None if that is not in memory."""
        index = len(self._history) - 1 - (self.revision - revision)
        return self._history[index].id if 0 <= index < len(self._history) else None

    def image(self) -> Image:
        """A copy that later changes do not touch."""
        return Image(
            self.revision,
            [KeptEntry(e.key, e.value, e.version, self._owners.get(e.key, "")) for e in self._entries.values()],
        )

    # Changing --------------------------------------------------------------------------------------

    def apply(self, revision: int, entry: LogEntry) -> None:
        assert revision == self.revision + 1, f"revision {revision} after {self.revision}"
        deletes = [key for key in entry.deletes if key in self._entries]
        if entry.ends:
            deletes += sorted(key for key, owner in self._owners.items() if owner == entry.ends and key not in deletes)
        written: Sequence[Entry] = [
            Entry(key=key, value=value, version=revision)
            for values in (entry.puts, entry.ephemeral_puts)
            for key, value in values.items()
        ]
        for key in deletes:
            del self._entries[key]
            self._owners.pop(key, None)
        for put in written:
            self._entries[put.key] = put
            self._owners.pop(put.key, None)
        self._owners.update(dict.fromkeys(entry.ephemeral_puts, entry.session))
        self.revision = revision
        self._remember(Commit(revision=revision, puts=tuple(written), deletes=tuple(deletes)), entry.id)

    def restore(self, image: Image) -> None:
        """Become what a snapshot kept. The changes in between are unknown: watchers have to read a snapshot too."""
        assert image.revision > self.revision, f"a snapshot of {image.revision} after {self.revision}"
        self._entries = {e.key: Entry(key=e.key, value=e.value, version=e.version) for e in image.entries}
        self._owners = {e.key: e.session for e in image.entries if e.session}
        self._history.clear()
        self._history_bytes = 0
        self.revision = image.revision

    def _remember(self, commit: Commit, identity: bytes) -> None:
        size = sum(len(put.key) + len(put.value) for put in commit.puts) + sum(map(len, commit.deletes))
        self._history.append(_Past(commit, identity, size))
        self._history_bytes += size
        self.bytes_applied += size
        while len(self._history) > 1 and (
            len(self._history) > HISTORY_COMMITS_MAX or self._history_bytes > HISTORY_BYTES_MAX
        ):
            self._history_bytes -= self._history.popleft().size
