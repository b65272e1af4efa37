"""The control batch that ends a transaction, as bytes.

Owns: the marker's key (version, type) and value (version, epoch of the transaction coordinator). Newer versions only
append fields, so a reader takes what it knows and ignores the rest.
"""

from __future__ import annotations

import struct

from broker.coordination.transaction import TransactionMarker
from broker.protocol.batch import BatchHeader
from broker.protocol.records import Record, build_batch
from broker.types import TimestampMs

_VERSION = 0
_ABORT, _COMMIT = 0, 1
_KEY = struct.Struct(">hh")
_VALUE = struct.Struct(">hi")


def build_marker(marker: TransactionMarker, now_ms: TimestampMs) -> bytearray:
    return build_batch(
        [
            Record(
                timestamp=now_ms,
                key=_KEY.pack(_VERSION, _COMMIT if marker.commit else _ABORT),
                value=_VALUE.pack(_VERSION, marker.coordinator_epoch),
            )
        ],
        producer_id=marker.producer_id,
        producer_epoch=marker.producer_epoch,
        is_transactional=True,
        is_control=True,
    )


def read_marker(header: BatchHeader, record: Record) -> TransactionMarker | None:
    """``None`` for a control record that ends no transaction, or that cannot be read."""
    key, value = record.key or b"", record.value or b""
    if len(key) < _KEY.size or len(value) < _VALUE.size:
        return None
    _, kind = _KEY.unpack_from(key)
    _, coordinator_epoch = _VALUE.unpack_from(value)
    if kind not in (_ABORT, _COMMIT):
        return None
    return TransactionMarker(
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        coordinator_epoch=coordinator_epoch,
        commit=kind == _COMMIT,
    )
