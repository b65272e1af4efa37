"""Walking a segment file batch by batch.

Owns: ``scan_headers`` (61 bytes per batch, to find a place or rebuild an index) and ``scan_checked`` (every byte,
CRC verified, for recovery). Both stop at the first thing that is no batch by raising ``DamageFound``; whether
that is a torn tail or bit rot is for the caller to judge from its position.
"""

from __future__ import annotations

from collections.abc import Iterator

from crc32c import crc32c

from broker.protocol.batch import (
    ATTRIBUTES_AT,
    BATCH_LENGTH_MIN,
    HEADER,
    HEADER_SIZE,
    LENGTH_PREFIX_SIZE,
    MAGIC,
    BatchHeader,
    crc_is_valid,
)
from broker.storage.filesystem import FileSystem

HEADER_CHUNK_BYTES = 4 * 1024
CHECK_CHUNK_BYTES = 1024 * 1024


class DamageFound(Exception):
    """No valid batch starts at ``position``."""

    def __init__(self, position: int, offset: int, reason: str, *, torn: bool = False) -> None:
        super().__init__(f"{reason} (byte {position}, after offset {offset - 1})")
        self.torn = torn
        """It looks like a write that was interrupted, not like bytes that changed."""
        self.position = position
        self.offset = offset
        """The offset expected there: everything below it was fine."""
        self.reason = reason


def scan_headers(
    filesystem: FileSystem, fd: int, position: int, end: int, next_offset: int, *, gaps_allowed: bool, exact: bool
) -> Iterator[tuple[int, BatchHeader]]:
    """Position and header of each batch in ``[position, end)``.

    ``next_offset`` is where the first batch must start (``exact``), or what it may not start below. Each further batch
    starts where the one before ended, unless compaction may have left gaps.
    """
    chunk, chunk_at = b"", position
    while position < end:
        at = position - chunk_at
        if at + HEADER_SIZE > len(chunk):
            chunk, chunk_at, at = filesystem.pread(fd, min(HEADER_CHUNK_BYTES, end - position), position), position, 0
        header = _header(chunk, at, position, end, next_offset, exact)
        yield position, header
        position += header.size
        next_offset, exact = header.next_offset, not gaps_allowed


def scan_checked(
    filesystem: FileSystem, fd: int, position: int, end: int, next_offset: int, *, gaps_allowed: bool
) -> Iterator[tuple[int, BatchHeader]]:
    """``scan_headers`` that also reads every batch and verifies its CRC."""
    chunk, chunk_at = memoryview(b""), position
    while position < end:
        at = position - chunk_at
        if at + HEADER_SIZE > len(chunk):
            chunk, chunk_at, at = _checked_chunk(filesystem, fd, position, end), position, 0
        header = _header(chunk, at, position, end, next_offset, not gaps_allowed)
        if at + header.size > len(chunk) and at:
            chunk, chunk_at, at = _checked_chunk(filesystem, fd, position, end), position, 0
        if at + header.size <= len(chunk):
            valid = crc_is_valid(chunk, at, header.size)
        else:
            valid = _crc_of_file(filesystem, fd, position + ATTRIBUTES_AT, position + header.size) == header.crc
        if not valid:
            raise DamageFound(position, next_offset, "the CRC does not match")
        yield position, header
        position += header.size
        next_offset = header.next_offset


def _header(chunk: bytes | memoryview, at: int, position: int, end: int, next_offset: int, exact: bool) -> BatchHeader:
    if at + HEADER_SIZE > len(chunk):
        raise DamageFound(position, next_offset, "the file ends inside a batch header", torn=True)
    header = BatchHeader._make(HEADER.unpack_from(chunk, at))
    if header.batch_length < BATCH_LENGTH_MIN:
        raise DamageFound(position, next_offset, f"a batch cannot have length {header.batch_length}")
    if header.magic != MAGIC:
        raise DamageFound(position, next_offset, f"unknown message format: magic {header.magic}")
    if position + header.batch_length + LENGTH_PREFIX_SIZE > end:
        raise DamageFound(position, next_offset, "the file ends inside a batch", torn=True)
    if header.base_offset < next_offset or header.last_offset_delta < 0 or (exact and header.base_offset > next_offset):
        raise DamageFound(position, next_offset, f"offset {header.base_offset} is not the one that follows")
    return header


def _checked_chunk(filesystem: FileSystem, fd: int, position: int, end: int) -> memoryview:
    return memoryview(filesystem.pread(fd, min(CHECK_CHUNK_BYTES, end - position), position))


def _crc_of_file(filesystem: FileSystem, fd: int, position: int, end: int) -> int:
    """A garbage length may claim most of the file, so a large batch is read in pieces."""
    crc = 0
    while position < end:
        piece = filesystem.pread(fd, min(CHECK_CHUNK_BYTES, end - position), position)
        if not piece:
            break
        crc = crc32c(piece, crc)
        position += len(piece)
    return crc
