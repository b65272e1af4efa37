"""What does not fit into one node: a frame in pieces.

Owns: writing, reading and clearing away blobs, so that a crash at any point loses nothing and leaves nothing for ever:

- A blob is written whole before anything refers to it, and whoever refers to it (a commit, a snapshot) does so in one change with
  ``adopted``, which needs the blob's node at version 0, raises it to 1 and says who it was.
- A blob nobody adopted belongs to a writer that died or will write a new one. ``clear`` first dooms it, again from version 0
  to 1: of the adoption and the doom only one can happen, whenever the writer comes back.
- The name of a blob begins with the revision it was begun at. Only those from before the log's beginning are looked at.
"""

from __future__ import annotations

import secrets
import zlib

from broker.metadata import zookeeper_layout as layout
from broker.metadata.store import StoreUnavailable
from broker.metadata.zookeeper_connection import Operation, Refused, ZookeeperConnection
from broker.metadata.zookeeper_layout import BlobReference

BY_SNAPSHOT = 0
_DOOMED = b"-1"
_CLEARED_AT_ONCE = 64


class BlobGone(Exception):
    """A piece is missing: something newer has taken the blob's place."""


async def write(connection: ZookeeperConnection, frame: bytes, revision: int) -> BlobReference:
    """``revision`` is the store's present one. ``BlobGone`` if it was taken for abandoned meanwhile."""
    size = layout.PIECE_BYTES
    pieces = [frame[start : start + size] for start in range(0, len(frame), size)]
    if len(pieces) > layout.BLOB_PIECES_MAX:
        raise StoreUnavailable(f"{len(frame)} bytes are more than one change of the metadata may have")
    identity = f"{revision:016d}-{secrets.token_hex(8)}"
    await connection.create(layout.blob_path(identity))
    for index, piece in enumerate(pieces):
        try:
            await connection.create(layout.blob_path(identity, index), piece)
        except Refused as refused:
            raise BlobGone(identity) from refused
    return BlobReference(identity, len(pieces), zlib.crc32(frame))


def adopted(reference: BlobReference, revision: int) -> Operation:
    """By the commit of that revision, or ``BY_SNAPSHOT``."""
    return ("set", layout.blob_path(reference.id), str(revision).encode(), 0)


async def read(connection: ZookeeperConnection, reference: BlobReference) -> bytes:
    paths = [layout.blob_path(reference.id, index) for index in range(reference.pieces)]
    pieces = [None if found is None else found[0] for found in await connection.get_all(paths)]
    if any(piece is None for piece in pieces):
        raise BlobGone(reference.id)
    frame = b"".join(piece for piece in pieces if piece is not None)
    if zlib.crc32(frame) != reference.checksum:
        raise StoreUnavailable(f"blob {reference.id} of the metadata store is damaged")
    return frame


async def clear(connection: ZookeeperConnection, log_begins: int, *, spare: str) -> None:
    """Those begun before the log's beginning that nothing refers to. ``spare`` is the present snapshot's."""
    names = sorted(await connection.children_now(layout.BLOBS))
    old = [name for name in names if name != spare and int(name.partition("-")[0]) < log_begins]
    for name in old[:_CLEARED_AT_ONCE]:
        found = await connection.get(layout.blob_path(name))
        if found is None:
            continue
        if found[1] == 0:
            try:
                await connection.change(("set", layout.blob_path(name), _DOOMED, 0))
            except Refused:
                continue  # it was adopted a moment ago
        elif found[0] != _DOOMED and int(found[0]) >= log_begins:
            continue
        for piece in await connection.children_now(layout.blob_path(name)):
            await delete_node(connection, f"{layout.blob_path(name)}/{piece}")
        await delete_node(connection, layout.blob_path(name))


async def delete_node(connection: ZookeeperConnection, path: str) -> None:
    """Not an error if it is gone, or has children yet."""
    try:
        await connection.change(("delete", path, -1))
    except Refused:
        return
