"""Transaction records in and out of record batches: the codec that the coordinator runtime works with.

Owns: cutting what one turn of the event loop produced into batches the partition accepts, and reading them back. A record
that cannot be read is reported and skipped: one stranger in the log must not take down every producer beside it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from broker.coordination.log_batches import fitting, read_entries
from broker.coordination.primitives import MalformedRecord
from broker.protocol import records as batches
from broker.protocol.batch import BatchHeader
from broker.transactions.records import TransactionRecord, decode_record, encode_record
from broker.types import Buffer, Offset

logger = logging.getLogger(__name__)


class TransactionRecordCodec:
    def encode(self, records: Sequence[TransactionRecord], now_ms: int, batch_bytes_max: int) -> Iterator[bytearray]:
        for batch in fitting(map(encode_record, records), now_ms, batch_bytes_max):
            yield batches.build_batch(batch)

    def decode(
        self, pieces: Sequence[Buffer], from_offset: Offset
    ) -> Iterator[tuple[Offset, TransactionRecord | None]]:
        return read_entries(pieces, from_offset, _entry)


def _entry(header: BatchHeader, record: batches.Record) -> TransactionRecord | None:
    return None if header.is_control else _decode(record)


def _decode(record: batches.Record) -> TransactionRecord | None:
    try:
        return decode_record(record.key, record.value)
    except MalformedRecord as error:
        logger.error("record at offset %d is not a transaction, skipped: %s", record.offset, error)
        return None
