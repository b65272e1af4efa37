"""The log of commits in ZooKeeper, and this process's replica of what it adds up to.

Owns: reading the log in order and without a gap, and appending to it. Used by the loop of one store; ``_turn`` lets one reader or
writer at a time near the replica.

- **Order.** A commit is one change that sets ``/head`` from the version the writer has seen and creates ``/log/<revision>``. Of
  several writers one succeeds; the others read what it wrote, judge their preconditions again, and try again.
- **No gap.** The replica reads the entries one by one from its own revision to that of ``/head``. Watches only tell when to look. An
  entry that is gone was trimmed, and then a newer snapshot is there for certain.
- **Lost answers.** Every entry has an id chosen by its writer. After a lost connection the writer looks who made the revision it tried for:
  itself, then the commit happened; another, then it did not and never will, for the revision is taken; nobody yet, then the same change is sent
  again: of the two only one can succeed, and either is good.
- **Another store.** Everything has the store's id in it. Contents that were replaced, or went back in time, are not followed: a
  running broker keeps the last state it knows, because an empty store must not look like the deletion of everything.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

from broker.metadata import zookeeper_blobs as blobs
from broker.metadata import zookeeper_layout as layout
from broker.metadata.replica import Image, LogEntry, Replica
from broker.metadata.store import PreconditionFailed, SessionExpired, StoreUnavailable, Transaction
from broker.metadata.zookeeper_connection import READS_AT_ONCE, Interrupted, Operation, Refused, ZookeeperConnection
from broker.metadata.zookeeper_layout import BlobReference, SnapshotPointer

RELOADS_MAX = 10
"""Times a snapshot may be replaced by a newer one while it is read."""

_HEAD_STEP, _LOG_STEP, _BLOB_STEP = 0, 1, 2
"""Of the change that is a commit; the last only where there is a blob."""


class ZookeeperLog:
    def __init__(self, connection: ZookeeperConnection, on_advance: Callable[[], None]) -> None:
        """``on_advance`` is called whenever the replica has become newer."""
        self._connection = connection
        self._on_advance = on_advance
        self.replica = Replica()
        self._store_id = ""
        self._head: tuple[int, int] = (-1, -1)
        """Revision and node version, as read or set last. Commits compare the version."""
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Make what a new store needs, or read what is there."""
        connection = self._connection
        await connection.create_chroot()
        await connection.create(layout.FORMAT, layout.format_value(secrets.token_hex(8)))
        found = await connection.get_now(layout.FORMAT)
        self._store_id = layout.parse_format(b"" if found is None else found[0])
        for directory in layout.DIRECTORIES:
            await connection.create(directory)
        await connection.create(layout.HEAD, layout.head_value(0, self._store_id))
        await self.catch_up()

    # Reading ---------------------------------------------------------------------------------------

    async def catch_up(self) -> None:
        """The replica has everything that was committed before this call."""
        async with self._turn:
            await self._catch_up()

    async def _catch_up(self) -> None:
        found = await self._connection.get_now(layout.HEAD, watch=True)
        if found is None:
            raise StoreUnavailable("the contents of the metadata store are gone")
        revision, store_id = layout.parse_head(found[0])
        if store_id != self._store_id or revision < self.replica.revision:
            raise StoreUnavailable(
                f"the contents of the metadata store were replaced (revision {revision} of {store_id}, "
                f"not {self.replica.revision} of {self._store_id}): the brokers have to be restarted"
            )
        before = self.replica.revision
        try:
            while self.replica.revision < revision:
                await self._read_entries(revision)
        finally:
            if self.replica.revision > before:
                self._on_advance()
        if self.replica.revision == revision:  # a snapshot may have been newer
            self._head = (revision, found[1])
        else:
            await self._catch_up()

    async def _read_entries(self, head: int) -> None:
        """Some of those that are missing, up to ``head``; or a snapshot that has more than them."""
        first = self.replica.revision + 1
        revisions = range(first, min(head, first + READS_AT_ONCE - 1) + 1)
        found = await self._connection.get_all([layout.log_path(revision) for revision in revisions])
        for revision, node in zip(revisions, found, strict=True):
            try:
                if node is None:
                    raise blobs.BlobGone
                entry = await self._decoded(node[0], f"revision {revision}")
            except blobs.BlobGone:
                await self._restore()
                return
            self.replica.apply(revision, entry)

    async def _decoded(self, frame: bytes, where: str) -> LogEntry:
        reference = layout.blob_of(frame)
        if reference is not None:
            frame = await blobs.read(self._connection, reference)
        return layout.decode(frame, LogEntry, where)

    async def _restore(self) -> None:
        for _ in range(RELOADS_MAX):
            found = await self._connection.get_now(layout.SNAPSHOT)
            if found is None:
                raise StoreUnavailable(
                    f"revision {self.replica.revision + 1} of the metadata store is missing, and there is no snapshot"
                )
            pointer = layout.decode(found[0], SnapshotPointer, layout.SNAPSHOT)
            if pointer.revision <= self.replica.revision:
                raise StoreUnavailable(f"revision {self.replica.revision + 1} of the metadata store is missing")
            try:
                frame = await blobs.read(self._connection, pointer.blob)
            except blobs.BlobGone:
                continue
            image = await asyncio.to_thread(layout.decode, frame, Image, "a snapshot")
            self.replica.restore(image)
            return
        raise StoreUnavailable("the snapshot of the metadata store is replaced faster than it can be read")

    # Appending -------------------------------------------------------------------------------------

    async def commit(self, transaction: Transaction) -> int:
        """Raises ``PreconditionFailed``, ``SessionExpired`` or ``StoreUnavailable``."""
        entry = LogEntry(
            id=secrets.token_bytes(8),
            puts=dict(transaction.puts),
            deletes=list(transaction.deletes),
            ephemeral_puts=dict(transaction.ephemeral_puts),
            session=(transaction.session or "") if transaction.ephemeral_puts else "",
        )
        needs: list[Operation] = []
        if transaction.session is not None:
            needs.append(("check", layout.session_path(transaction.session), -1))

        def wanted(replica: Replica) -> bool:
            broken = replica.broken(transaction.preconditions)
            if broken is not None:
                raise PreconditionFailed(broken, replica.revision)
            return replica.has_effect(transaction)

        async with self._turn:
            try:
                revision = await self._append(entry, wanted, needs)
                if revision is None:
                    if needs:
                        await self._connection.change(*needs)
                    return self.replica.revision
            except Refused as refused:
                raise SessionExpired(transaction.session) from refused
            return revision

    async def end_session(self, session: str) -> bool:
        """Delete the keys of a session whose node is gone, in one commit. False if somebody has done it, or it had none."""
        entry = LogEntry(id=secrets.token_bytes(8), ends=session)
        async with self._turn:
            return await self._append(entry, lambda replica: session in replica.sessions_with_keys(), []) is not None

    async def _append(self, entry: LogEntry, wanted: Callable[[Replica], bool], needs: list[Operation]) -> int | None:
        """The revision, or None if the present state does not want it. ``Refused`` if one of ``needs`` does not hold.

        ``wanted`` decides on the newest state that is known, which the change then proves to be the newest there is. When it
        refuses, it is asked again on what the store has now.
        """
        attempt = _Attempt(entry, needs)
        current = self._head[0] == self.replica.revision
        while True:
            if not current:
                await self._catch_up()
                if self._has_happened(attempt):
                    return attempt.revision
            if self._is_wanted(wanted, for_certain=not current):
                if await self._try(attempt):
                    return attempt.revision
            elif not current:
                return None
            current = False

    def _is_wanted(self, wanted: Callable[[Replica], bool], *, for_certain: bool) -> bool:
        try:
            return wanted(self.replica)
        except PreconditionFailed:
            if for_certain:
                raise
            return False

    async def _try(self, attempt: _Attempt) -> bool:
        """Whether it became the next revision. If not, look at what did, and whether it was this after all."""
        try:
            if attempt.blob is None and len(attempt.frame) > layout.INLINE_BYTES_MAX:
                attempt.blob = await blobs.write(self._connection, attempt.frame, self.replica.revision)
            attempt.revision = self.replica.revision + 1
            results = await self._connection.change(*self._steps(attempt))
        except blobs.BlobGone:
            return False
        except Interrupted:
            attempt.in_doubt = attempt.revision
            return False
        except Refused as refused:
            if refused.index == _HEAD_STEP:  # somebody else was faster
                return False
            if refused.index == _LOG_STEP:
                raise StoreUnavailable(f"the metadata store has a revision beyond its head: {refused}") from refused
            if attempt.blob is not None and refused.index == _BLOB_STEP:  # we were so slow that it looked abandoned
                attempt.blob = None
                return False
            raise
        self.replica.apply(attempt.revision, attempt.entry)
        self._head = (attempt.revision, results[_HEAD_STEP].version)
        self._on_advance()
        return True

    def _steps(self, attempt: _Attempt) -> list[Operation]:
        blob, revision = attempt.blob, attempt.revision
        value = attempt.frame if blob is None else layout.encode_reference(blob)
        return [
            ("set", layout.HEAD, layout.head_value(revision, self._store_id), self._head[1]),
            ("create", layout.log_path(revision), value, False),
            *([] if blob is None else [blobs.adopted(blob, revision)]),
            *attempt.needs,
        ]

    def _has_happened(self, attempt: _Attempt) -> bool:
        """Of the try whose answer was lost, if one was."""
        if not 0 < attempt.in_doubt <= self.replica.revision:
            return False
        identity = self.replica.id_at(attempt.in_doubt)
        if identity is None:
            raise StoreUnavailable(f"whether the commit became revision {attempt.in_doubt} is not known any more")
        attempt.in_doubt = 0
        return identity == attempt.entry.id


class _Attempt:
    """One commit on its way, over as many tries as it takes."""

    def __init__(self, entry: LogEntry, needs: list[Operation]) -> None:
        self.entry = entry
        self.needs = needs
        self.frame = layout.encode(entry)
        self.blob: BlobReference | None = None
        self.revision = 0
        """The last one that was tried for."""
        self.in_doubt = 0
        """The one tried for when the answer was lost. Until it is taken it may still become ours."""
