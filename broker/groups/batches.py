"""Group records in and out of record batches: the codec that the coordinator runtime works with.

Owns: cutting what one turn of the event loop produced into batches the partition accepts, and reading them back. A
record that cannot be read (written by a newer protocol, or by something that is not a coordinator) is reported and
skipped: one stranger in the log must not take down every group beside it.

Offsets committed in a transaction stand in transactional batches of their producer; a control batch, the marker, says
later whether they hold.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from broker.coordination.log_batches import fitting, read_entries
from broker.coordination.transaction import InTransaction, TransactionalProducer, TransactionMarker
from broker.groups.records import MalformedRecord, Record, decode_record, encode_record
from broker.protocol import records as batches
from broker.protocol.batch import BatchHeader
from broker.protocol.markers import parse_marker
from broker.types import Buffer, Offset

Entry = Record | InTransaction[Record] | TransactionMarker
"""What the log of a group coordinator holds, as it is replayed."""

logger = logging.getLogger(__name__)


class GroupRecordCodec:
    def __init__(self, compression: str = "none") -> None:
        self._compression = compression

    def encode(self, records: Sequence[Record], now_ms: int, batch_bytes_max: int) -> Iterator[bytearray]:
        for batch in fitting(map(encode_record, records), now_ms, batch_bytes_max):
            yield batches.build_batch(batch, compression=self._compression)

    def encode_in_transaction(
        self, records: Sequence[Record], producer: TransactionalProducer, now_ms: int, batch_bytes_max: int
    ) -> Iterator[bytearray]:
        for batch in fitting(map(encode_record, records), now_ms, batch_bytes_max):
            yield batches.build_batch(
                batch,
                compression=self._compression,
                producer_id=producer.producer_id,
                producer_epoch=producer.producer_epoch,
                is_transactional=True,
            )

    def decode(self, pieces: Sequence[Buffer], from_offset: Offset) -> Iterator[tuple[Offset, Entry | None]]:
        return read_entries(pieces, from_offset, _entry)


def _entry(header: BatchHeader, record: batches.Record) -> Entry | None:
    if header.is_control:
        return _marker(header, record)
    decoded = _decode(record)
    if decoded is None or not header.is_transactional:
        return decoded
    producer = TransactionalProducer(producer_id=header.producer_id, producer_epoch=header.producer_epoch)
    return InTransaction(record=decoded, producer=producer)


def _marker(header: BatchHeader, record: batches.Record) -> TransactionMarker | None:
    """``None`` for a control record that ends no transaction."""
    marker = parse_marker(record.key, record.value)
    if marker is None:
        return None
    return TransactionMarker(
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        coordinator_epoch=marker.coordinator_epoch,
        commit=marker.commit,
    )


def _decode(record: batches.Record) -> Record | None:
    try:
        return decode_record(record.key, record.value)
    except MalformedRecord as error:
        logger.error("record at offset %d is not a group record, skipped: %s", record.offset, error)
        return None
