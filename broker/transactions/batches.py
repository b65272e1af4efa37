"""Transaction records in and out of record batches: the codec that the coordinator runtime works with.

Owns: cutting what one turn of the event loop produced into batches the partition accepts, and reading them back. A record
that cannot be read is reported and skipped: one stranger in the log must not take down every producer beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from broker.coordination.primitives import MalformedRecord
from broker.protocol import records as batches
from broker.protocol.batch import scan_batches
from broker.transactions.records import TransactionRecord, decode_record, encode_record
from broker.types import Buffer, Offset

logger = logging.getLogger(__name__)

_RECORD_OVERHEAD_BYTES = 32
"""More than a record's own varints take."""


class TransactionRecordCodec:
    def encode(self, records: Sequence[TransactionRecord], now_ms: int, batch_bytes_max: int) -> Iterator[bytearray]:
        batch: list[batches.Record] = []
        size = 0
        for record in records:
            key, value = encode_record(record)
            record_size = len(key) + len(value or b"") + _RECORD_OVERHEAD_BYTES
            if batch and size + record_size > batch_bytes_max:
                yield batches.build_batch(batch)
                batch, size = [], 0
            batch.append(batches.Record(timestamp=now_ms, key=key, value=value))
            size += record_size
        if batch:
            yield batches.build_batch(batch)

    def decode(
        self, pieces: Sequence[Buffer], from_offset: Offset
    ) -> Iterator[tuple[Offset, TransactionRecord | None]]:
        view = memoryview(b"".join(pieces))
        for at, header in scan_batches(view):
            last_offset = header.last_offset
            if last_offset < from_offset:
                continue
            seen = -1
            if not header.is_control:
                for record in batches.iter_records(view[at : at + header.size]):
                    if record.offset >= from_offset:
                        seen = record.offset
                        yield seen, _decode(record)
            if seen < last_offset:
                yield last_offset, None


def _decode(record: batches.Record) -> TransactionRecord | None:
    try:
        return decode_record(record.key, record.value)
    except MalformedRecord as error:
        logger.error("record at offset %d is not a transaction, skipped: %s", record.offset, error)
        return None
