"""What the embedded store keeps in its SQLite file, and the statements that keep it.

Tables (``SCHEMA_VERSION`` 1; a later version migrates in ``_create_schema``, under the write lock taken there):

- ``entry``: what is there now. ``change``: what every commit did, trimmed to the newest ``CHANGES_KEPT`` revisions.
- ``session``: who may hold ephemeral keys. What changes all the time about a session (its deadline, what it acknowledged)
  is kept in a second file, ``<name>-liveness``, attached without synchronisation: renewing a session neither waits for the
  disk nor looks like a change to the other brokers. That file holds nothing that lasts.

Every function takes a connection inside the transaction it belongs to; only ``open_database`` begins one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from broker.metadata.store import (
    Absent,
    Commit,
    Entry,
    Exists,
    Precondition,
    RevisionCompacted,
    StoreUnavailable,
    VersionIs,
)

SCHEMA_VERSION = 1
CHANGES_KEPT = 10_000
"""Revisions a watcher may lag behind before it has to read a snapshot."""
TRIM_EVERY = 256
WATCH_BATCH = 512
"""Revisions read at once for a watcher."""
BUSY_TIMEOUT_MS = 5_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, session TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entry_session ON entry (session) WHERE session IS NOT NULL;
CREATE TABLE IF NOT EXISTS change (
    revision INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
    PRIMARY KEY (revision, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS session (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, timeout_ms INTEGER NOT NULL, boot TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS store (singleton INTEGER PRIMARY KEY CHECK (singleton = 1), revision INTEGER NOT NULL);
INSERT OR IGNORE INTO store VALUES (1, 0);
"""
_LIVENESS_SCHEMA = """
CREATE TABLE IF NOT EXISTS liveness.deadline (session TEXT PRIMARY KEY, deadline_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS liveness.acknowledged (session TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID
"""


def open_database(path: Path) -> sqlite3.Connection:
    """The two files, made if need be. Raises ``StoreUnavailable`` for a file of a newer version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in (path, Path(f"{path}-liveness")):
        _create_private(file)
    database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)
    try:
        database.execute("ATTACH DATABASE ? AS liveness", (f"{path}-liveness",))
        for schema, synchronous in (("main", "FULL"), ("liveness", "OFF")):
            _switch_to_wal(database, schema)
            database.execute(f"PRAGMA {schema}.synchronous = {synchronous}")
        _create_schema(database, path)
    except BaseException:
        database.close()
        raise
    return database


def changes_after(database: sqlite3.Connection, after_revision: int) -> list[Commit]:
    """The next commits, at most ``WATCH_BATCH``. Raises ``RevisionCompacted`` if one of them is not kept any more."""
    current = revision_of(database)
    if current == after_revision:
        return []
    (oldest,) = database.execute("SELECT min(revision) FROM change").fetchone()
    if current < after_revision or oldest is None or oldest > after_revision + 1:
        raise RevisionCompacted(f"changes after revision {after_revision} are gone (now {current})")
    rows = database.execute(
        "SELECT revision, key, value FROM change WHERE revision > ? AND revision <= ? ORDER BY revision, position",
        (after_revision, after_revision + WATCH_BATCH),
    ).fetchall()
    return _grouped(rows)


def revision_of(database: sqlite3.Connection) -> int:
    (revision,) = database.execute("SELECT revision FROM store").fetchone()
    return int(revision)


def version_of(database: sqlite3.Connection, key: str) -> int | None:
    row = database.execute("SELECT version FROM entry WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def holds(database: sqlite3.Connection, precondition: Precondition) -> bool:
    version = version_of(database, precondition.key)
    match precondition:
        case Exists():
            return version is not None
        case Absent():
            return version is None
        case VersionIs(version=expected):
            return version == expected


def write(database: sqlite3.Connection, puts: list[tuple[str, bytes, str | None]], deletes: list[str]) -> int:
    """One revision: the entries, the change log, and now and then its trimming."""
    revision = revision_of(database) + 1
    database.executemany(
        "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)",
        ((key, value, revision, owner) for key, value, owner in puts),
    )
    database.executemany("DELETE FROM entry WHERE key = ?", ((key,) for key in deletes))
    changes: list[tuple[str, bytes | None]] = [(key, value) for key, value, _ in puts]
    changes += [(key, None) for key in deletes]
    database.executemany(
        "INSERT INTO change VALUES (?, ?, ?, ?)",
        ((revision, position, key, value) for position, (key, value) in enumerate(changes)),
    )
    database.execute("UPDATE store SET revision = ?", (revision,))
    if revision % TRIM_EVERY == 0:
        database.execute("DELETE FROM change WHERE revision <= ?", (revision - CHANGES_KEPT,))
    return revision


def end_sessions(database: sqlite3.Connection, sessions: list[str]) -> None:
    for session in sessions:
        database.execute("DELETE FROM liveness.deadline WHERE session = ?", (session,))
        database.execute("DELETE FROM liveness.acknowledged WHERE session = ?", (session,))
        database.execute("DELETE FROM main.session WHERE id = ?", (session,))
        keys = [row[0] for row in database.execute("SELECT key FROM entry WHERE session = ? ORDER BY key", (session,))]
        if keys:
            write(database, [], keys)


def _grouped(rows: list[tuple[int, str, bytes | None]]) -> list[Commit]:
    by_revision: dict[int, list[tuple[str, bytes | None]]] = {}
    for revision, key, value in rows:
        by_revision.setdefault(revision, []).append((key, value))
    return [
        Commit(
            revision=revision,
            puts=tuple(Entry(key=key, value=value, version=revision) for key, value in changes if value is not None),
            deletes=tuple(key for key, value in changes if value is None),
        )
        for revision, changes in by_revision.items()
    ]


def _create_private(path: Path) -> None:
    """Make the file before SQLite would, readable by its owner only; SQLite gives its companions the same mode.

    A file that exists is not touched: closing any descriptor of it would drop this process's locks on it.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _switch_to_wal(database: sqlite3.Connection, schema: str) -> None:
    """Turning WAL on takes an exclusive lock the busy handler does not wait for; several brokers start at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            database.execute(f"PRAGMA {schema}.journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _create_schema(database: sqlite3.Connection, path: Path) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        (version,) = database.execute("PRAGMA main.user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreUnavailable(f"{path} was written by a newer version (schema {version})")
        if version < SCHEMA_VERSION:
            for statement in _SCHEMA.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA main.user_version = {SCHEMA_VERSION}")
        for statement in _LIVENESS_SCHEMA.split(";"):  # its file may have been lost
            database.execute(statement)
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
