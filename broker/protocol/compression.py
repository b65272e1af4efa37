"""The four codecs of record batches, both ways, decompression bounded by the size of the output.

A few kilobytes can inflate to gigabytes, and what a header claims about its size is the sender's word. So the output
never has more room than allowed: gzip is inflated up to a length, snappy blocks are added up before they are opened,
lz4 and zstd write into a mapping of exactly the allowed size, whose pages cost memory only once they are written.

Failures are ``KafkaError``: MESSAGE_TOO_LARGE beyond the bound, CORRUPT_MESSAGE for bytes that are not of the codec.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Callable

import cramjam

from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import COMPRESSION_NAMES
from broker.types import Buffer

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_SIZE = 16
"""Magic, version, oldest compatible version: the framing of Java's snappy streams. librdkafka sends bare blocks."""
_GZIP_WINDOW_BITS = 31
_GZIP_MEMBERS_MAX = 64
"""Clients write one; each further one costs a copy of the rest."""
_block_length = struct.Struct(">i").unpack_from


def decompress(codec: int, data: Buffer, size_max: int) -> bytes:
    """``codec`` is the id in a batch's attributes, 1 to 4."""
    if not 0 < codec < len(COMPRESSION_NAMES):
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Unknown compression codec {codec}.")
    try:
        inflated = _DECOMPRESSORS[codec](data, size_max)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        # The only sign that lz4 and zstd give of a full output.
        if "failed to write whole buffer" in str(error):
            raise _too_large(size_max) from None
        raise KafkaError(
            ErrorCode.CORRUPT_MESSAGE, f"The records are not valid {COMPRESSION_NAMES[codec]}: {error}."
        ) from error
    if len(inflated) > size_max:
        raise _too_large(size_max)
    return inflated


def compress(codec: int, data: Buffer, level: int) -> bytes:
    """``codec`` as above, or 0 for none; ``level`` is what the codec understands by it (snappy has none)."""
    return _COMPRESSORS[codec](data, level)


def _too_large(size_max: int) -> KafkaError:
    return KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"The record batch inflates beyond {size_max} bytes.")


def _gzip(data: Buffer, size_max: int) -> bytes:
    """All members of a gzip stream, at most ``size_max`` + 1 bytes."""
    pieces = []
    left = size_max + 1
    rest: Buffer = data
    for _ in range(_GZIP_MEMBERS_MAX):
        member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        piece = member.decompress(rest, left)
        pieces.append(piece)
        left -= len(piece)
        if left and not member.eof:
            raise zlib.error("cut off")
        rest = member.unused_data
        if not left or not rest:
            return b"".join(pieces)
    raise zlib.error(f"more than {_GZIP_MEMBERS_MAX} members")


def _snappy(data: Buffer, size_max: int) -> bytes:
    view = memoryview(data)
    if view[: len(_XERIAL_MAGIC)] != _XERIAL_MAGIC:
        return _snappy_block(view, size_max)
    pieces = []
    left = size_max
    at = _XERIAL_HEADER_SIZE
    while at < len(view):
        (length,) = _block_length(view, at)
        at += 4
        if not 0 < length <= len(view) - at:
            raise zlib.error(f"a block of {length} bytes with {len(view) - at} left")
        piece = _snappy_block(view[at : at + length], left)
        left -= len(piece)
        pieces.append(piece)
        at += length
    return b"".join(pieces)


def _snappy_block(block: memoryview, size_max: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(block) > size_max:
        raise _too_large(size_max)
    return bytes(cramjam.snappy.decompress_raw(block))


def _lz4(data: Buffer, size_max: int) -> bytes:
    return _into_bounded(cramjam.lz4.decompress_into, data, size_max)


def _zstd(data: Buffer, size_max: int) -> bytes:
    return _into_bounded(cramjam.zstd.decompress_into, data, size_max)


def _into_bounded(decompress_into: Callable[[Buffer, mmap.mmap], int], data: Buffer, size_max: int) -> bytes:
    with mmap.mmap(-1, max(size_max, 1)) as room:
        size = decompress_into(data, room)
        return room[:size]


_DECOMPRESSORS: dict[int, Callable[[Buffer, int], bytes]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}


_XERIAL_HEADER = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK_BYTES = 32 * 1024


def _to_gzip(data: Buffer, level: int) -> bytes:
    member = zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW_BITS)
    return member.compress(data) + member.flush()


def _to_snappy(data: Buffer, level: int) -> bytes:
    """Framed as Java's streams are, which every client reads."""
    view = memoryview(data)
    pieces = [_XERIAL_HEADER]
    for at in range(0, len(view), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[at : at + _XERIAL_BLOCK_BYTES]))
        pieces += (struct.pack(">i", len(block)), block)
    return b"".join(pieces)


def _to_lz4(data: Buffer, level: int) -> bytes:
    """Kafka's clients do not read frames whose blocks refer to each other (KIP-57)."""
    frame = cramjam.lz4.Compressor(level=level, content_checksum=False, block_linked=False)
    frame.compress(bytes(data))
    return bytes(frame.finish())


def _to_zstd(data: Buffer, level: int) -> bytes:
    return bytes(cramjam.zstd.compress(data, level=level))


_COMPRESSORS: tuple[Callable[[Buffer, int], bytes], ...] = (
    lambda data, level: bytes(data),
    _to_gzip,
    _to_snappy,
    _to_lz4,
    _to_zstd,
)

assert len(_COMPRESSORS) == len(COMPRESSION_NAMES)
