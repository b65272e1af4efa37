"""One record batch into the same batch with another codec, as ``compression.type`` of its topic asks.

Pure and slow: batches are opened and every record is looked at, so it belongs into a worker thread unless the batch is
small. What must stay true: header and records are the producer's, but for the codec, the length and the checksum; a
batch whose records are not what its header says is refused, never stored in a new coat.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.limits import DECOMPRESSED_BYTES_MAX
from broker.protocol import batch
from broker.protocol.compression import compress, decompress
from broker.protocol.records import iter_records
from broker.types import Buffer

NO_LEVEL = -1
_LENGTH = struct.Struct(">i")
_ATTRIBUTES = struct.Struct(">h")
_CRC = struct.Struct(">I")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What batches of a topic are stored with."""

    codec: int
    level: int


def target_of(config: TopicConfig) -> Target | None:
    """``None``: whatever the producer chose."""
    match config.compression_type:
        case "producer":
            return None
        case "uncompressed":
            return Target(codec=0, level=NO_LEVEL)
        case "gzip":
            return Target(codec=1, level=config.compression_gzip_level)
        case "snappy":
            return Target(codec=2, level=NO_LEVEL)
        case "lz4":
            return Target(codec=3, level=config.compression_lz4_level)
        case name:
            assert name == "zstd", name
            return Target(codec=4, level=config.compression_zstd_level)


def recompress(records: Buffer, target: Target, *, decompressed_bytes_max: int = DECOMPRESSED_BYTES_MAX) -> bytearray:
    """The one batch in ``records``, whose header and checksum were found good, with ``target``'s codec.

    Raises ``KafkaError``: CORRUPT_MESSAGE for what does not open, INVALID_RECORD for records that do not follow each
    other, MESSAGE_TOO_LARGE for what inflates beyond the bound.
    """
    view = memoryview(records)
    header = batch.read_header(view)
    plain: Buffer = view[batch.HEADER_SIZE : header.size]
    if header.compression:
        plain = decompress(header.compression, plain, decompressed_bytes_max)
    _check_records(_assembled(view, header.attributes & ~batch.COMPRESSION_MASK, plain), header)
    attributes = header.attributes & ~batch.COMPRESSION_MASK | target.codec
    return _assembled(view, attributes, compress(target.codec, plain, target.level))


def _assembled(head: memoryview, attributes: int, payload: Buffer) -> bytearray:
    built = bytearray(head[: batch.HEADER_SIZE])
    built += payload
    _LENGTH.pack_into(built, batch.BATCH_LENGTH_AT, len(built) - batch.LENGTH_PREFIX_SIZE)
    _ATTRIBUTES.pack_into(built, batch.ATTRIBUTES_AT, attributes)
    _CRC.pack_into(built, batch.CRC_AT, batch.compute_crc(built, 0, len(built)))
    return built


def _check_records(plain: bytearray, header: batch.BatchHeader) -> None:
    """What the header promises of them: how many they are is checked by opening them, that nothing is left over too."""
    expected = header.base_offset
    for record in iter_records(plain, verify_crc=False):
        if record.offset != expected:
            raise KafkaError(
                ErrorCode.INVALID_RECORD,
                f"Inner record inside the record batch does not have incremental offsets, expected offset is {expected}, "
                f"but {record.offset} was found.",
            )
        expected += 1
