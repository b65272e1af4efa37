"""Snapshots of the store's contents, and trimming the log they replace.

Owns: when a snapshot is due and the order that makes it safe to crash between any two steps:

1. ``/snapshotting`` says that we are at it. It saves work and nothing depends on it, for it goes with our session.
2. The pointer and its version are read. Whatever anybody else does to it from here on makes our step 4 fail.
3. The contents are written as a blob, whole.
4. One change adopts the blob and sets the pointer, from the version of step 2. From now on the log up to it is not needed.
5. The entries are deleted, the oldest first; then the blobs that nothing refers to any more.
6. The pointer notes where the log begins now. A crash before that leaves entries that the next one deletes once more.

A reader that is just reading what is deleted finds a piece missing and begins again with the newer snapshot.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

from broker.metadata import zookeeper_blobs as blobs
from broker.metadata import zookeeper_layout as layout
from broker.metadata.replica import Replica
from broker.metadata.zookeeper_connection import Refused, ZookeeperConnection
from broker.metadata.zookeeper_layout import SnapshotPointer

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 1_000
"""Commits since the last snapshot that make the next one due."""
SNAPSHOT_EVERY_BYTES = 16 * 1024 * 1024
"""The same in bytes of what was committed."""
ENTRIES_KEPT = 100
"""Entries below the snapshot that stay, for readers that are a little behind."""
_AT_ONCE = 64


class ZookeeperSnapshots:
    def __init__(self, connection: ZookeeperConnection, replica: Replica) -> None:
        self._connection = connection
        self._replica = replica
        self._last: SnapshotPointer | None = None
        self._bytes_then = 0
        self._token = secrets.token_bytes(8)

    def is_due(self) -> bool:
        last_revision = 0 if self._last is None else self._last.revision
        return (
            self._replica.revision - last_revision >= SNAPSHOT_EVERY
            or self._replica.bytes_applied - self._bytes_then >= SNAPSHOT_EVERY_BYTES
        )

    async def make(self) -> bool:
        """A snapshot of the replica if it is still due; False if somebody else is at it or was faster."""
        if not await self._begin():
            return False
        try:
            found = await self._connection.get_now(layout.SNAPSHOT)
            former = None if found is None else layout.decode(found[0], SnapshotPointer, layout.SNAPSHOT)
            if former is not None and (self._last is None or former.revision > self._last.revision):
                self._noted(former)
                if not self.is_due():
                    return False
            pointer = await self._write(former, -1 if found is None else found[1])
            if pointer is None:
                return False
            await self._trim(former, pointer)
            log.info("metadata: snapshot of revision %d, the log begins at %d", pointer.revision, pointer.log_begins)
            return True
        finally:
            await self._end()

    async def _begin(self) -> bool:
        try:
            await self._connection.change(("create", layout.SNAPSHOTTING, self._token, True))
        except Refused:
            found = await self._connection.get(layout.SNAPSHOTTING)
            return found is not None and found[0] == self._token  # ours, from when an answer was lost
        return True

    async def _end(self) -> None:
        await blobs.delete_node(self._connection, layout.SNAPSHOTTING)

    async def _write(self, former: SnapshotPointer | None, version: int) -> SnapshotPointer | None:
        image = self._replica.image()
        if former is not None and image.revision <= former.revision:
            return None
        frame = await asyncio.to_thread(layout.encode, image)
        try:
            blob = await blobs.write(self._connection, frame, image.revision)
        except blobs.BlobGone:
            return None
        pointer = SnapshotPointer(
            revision=image.revision, blob=blob, log_begins=1 if former is None else former.log_begins
        )
        value = layout.encode(pointer)
        try:
            await self._connection.change(
                blobs.adopted(blob, blobs.BY_SNAPSHOT),
                ("create", layout.SNAPSHOT, value, False)
                if former is None
                else ("set", layout.SNAPSHOT, value, version),
            )
        except Refused:
            return None  # somebody else's is there; ours is cleared away with the next one
        self._noted(pointer)
        return pointer

    async def _trim(self, former: SnapshotPointer | None, pointer: SnapshotPointer) -> None:
        begins = max(pointer.log_begins, pointer.revision - ENTRIES_KEPT + 1)
        for start in range(pointer.log_begins, begins, _AT_ONCE):
            await self._delete_entries(range(start, min(begins, start + _AT_ONCE)))
        await blobs.clear(self._connection, begins, spare=pointer.blob.id)
        trimmed = SnapshotPointer(revision=pointer.revision, blob=pointer.blob, log_begins=begins)
        # A newer snapshot of somebody else's has the old beginning, which is true as well.
        found = await self._connection.get_now(layout.SNAPSHOT)
        if found is not None and found[0] == layout.encode(pointer):
            try:
                await self._connection.change(("set", layout.SNAPSHOT, layout.encode(trimmed), found[1]))
            except Refused:
                return

    async def _delete_entries(self, revisions: range) -> None:
        paths = [layout.log_path(revision) for revision in revisions]
        there = [path for path, found in zip(paths, await self._connection.get_all(paths), strict=True) if found]
        try:
            if there:
                await self._connection.change(*(("delete", path, -1) for path in there))
        except Refused:  # somebody whose turn was over is trimming too
            for path in there:
                await blobs.delete_node(self._connection, path)

    def _noted(self, pointer: SnapshotPointer) -> None:
        self._last = pointer
        self._bytes_then = self._replica.bytes_applied
