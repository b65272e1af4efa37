"""What the ZooKeeper adapter keeps, and how its bytes are read and written. Pure.

Below the chroot (``FORMAT_VERSION`` 1; a later version writes another ``/format`` and reads both):

    /format              the version and this store's id, written once
    /head                ``<revision> <store id>``; set exactly once by every commit, so its version is what commits compare
    /log/<revision>      what the commit of that revision did: a frame of a ``LogEntry``
    /blobs/<id>/<i>      the pieces of what does not fit into one node
    /snapshot            which blob has all contents as of which revision, and where the log begins
    /snapshotting        ephemeral: somebody is making a snapshot
    /sessions/<id>       ephemeral: the session lives; its value is the revision its holder has acknowledged
    /names/<name>        ephemeral: who holds the name, from opening a session to closing it

A frame is one byte that says how the rest is kept, and the rest: as it is, deflated, or as the name of a blob with the
CRC-32 of the frame it has in its pieces. ZooKeeper itself guards what it writes with checksums.
"""

from __future__ import annotations

import zlib
from typing import TypeVar

import msgspec

from broker.metadata.store import StoreUnavailable

FORMAT_VERSION = 1
FORMAT = "/format"
HEAD = "/head"
LOG = "/log"
BLOBS = "/blobs"
SNAPSHOT = "/snapshot"
SNAPSHOTTING = "/snapshotting"
SESSIONS = "/sessions"
NAMES = "/names"
DIRECTORIES = (LOG, BLOBS, SESSIONS, NAMES)

INLINE_BYTES_MAX = 256 * 1024
"""Of a frame inside a commit. ZooKeeper refuses packets of 1 MiB (its jute.maxbuffer) by closing the connection."""
PIECE_BYTES = 512 * 1024
"""Of one piece of a blob."""
BLOB_PIECES_MAX = 256
DEFLATE_FROM_BYTES = 2 * 1024
INFLATED_BYTES_MAX = 1024 * 1024 * 1024

_PLAIN, _DEFLATED, _IN_BLOB = b"\x01", b"\x02", b"\x03"

Content = TypeVar("Content")


class BlobReference(msgspec.Struct, frozen=True, array_like=True):
    id: str
    pieces: int
    checksum: int


class SnapshotPointer(msgspec.Struct, frozen=True, kw_only=True):
    revision: int
    blob: BlobReference
    log_begins: int
    """Entries of lower revisions are certainly deleted."""


class NameHolder(msgspec.Struct, frozen=True, kw_only=True):
    session: str
    timeout_ms: int
    process: str
    """Tells processes of one machine apart; see ``process_identity.py``."""


def log_path(revision: int) -> str:
    return f"{LOG}/{revision:016d}"


def blob_path(identity: str, piece: int | None = None) -> str:
    return f"{BLOBS}/{identity}" if piece is None else f"{BLOBS}/{identity}/{piece:04d}"


def session_path(session: str) -> str:
    return f"{SESSIONS}/{session}"


def name_path(name: str) -> str:
    return f"{NAMES}/{name}"


def head_value(revision: int, store_id: str) -> bytes:
    return f"{revision} {store_id}".encode()


def parse_head(value: bytes) -> tuple[int, str]:
    revision, _, store_id = value.decode(errors="replace").partition(" ")
    if not revision.isdecimal():
        raise StoreUnavailable(f"the metadata store's /head is damaged: {value[:64]!r}")
    return int(revision), store_id


def format_value(store_id: str) -> bytes:
    return f"{FORMAT_VERSION} {store_id}".encode()


def parse_format(value: bytes) -> str:
    """The store's id. Refuses a store of a newer version."""
    version, _, store_id = value.decode(errors="replace").partition(" ")
    if not version.isdecimal() or not store_id:
        raise StoreUnavailable(f"the chroot holds something else than Ottla's metadata: {value[:64]!r}")
    if int(version) > FORMAT_VERSION:
        raise StoreUnavailable(f"the metadata store was written by a newer version (format {version})")
    return store_id


def encode(content: object) -> bytes:
    """A frame. It may be too large for one node."""
    plain = msgspec.msgpack.encode(content)
    if len(plain) < DEFLATE_FROM_BYTES:
        return _PLAIN + plain
    return _DEFLATED + zlib.compress(plain, level=1)


def decode(frame: bytes, kind: type[Content], where: str) -> Content:
    """``frame`` must not be a reference (``blob_of``)."""
    try:
        if frame[:1] == _DEFLATED:
            inflater = zlib.decompressobj()
            plain = inflater.decompress(frame[1:], INFLATED_BYTES_MAX)
        elif frame[:1] == _PLAIN:
            plain = frame[1:]
        else:
            raise StoreUnavailable(f"{where} of the metadata store is of an unknown kind: {frame[:8]!r}")
        return msgspec.msgpack.decode(plain, type=kind)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise StoreUnavailable(f"{where} of the metadata store is damaged: {error}") from error


def encode_reference(reference: BlobReference) -> bytes:
    return _IN_BLOB + msgspec.msgpack.encode(reference)


def blob_of(frame: bytes) -> BlobReference | None:
    """The blob the frame is in, if it is in one."""
    if frame[:1] != _IN_BLOB:
        return None
    return decode(_PLAIN + frame[1:], BlobReference, "a reference")
