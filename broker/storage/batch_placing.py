"""Giving batches their place in the log, in the buffer they came in where that may be written to."""

from __future__ import annotations

from collections.abc import Sequence

from broker.protocol.batch import BatchHeader, set_log_append_time, stamp, stamped_prefix
from broker.types import Buffer


def stamped(
    records: Buffer, batches: Sequence[tuple[int, BatchHeader]], offset: int, leader_epoch: int
) -> Sequence[Buffer]:
    """The bytes to write, each batch carrying its place: in place where that is allowed, else beside the rest."""
    if isinstance(records, bytearray) or (isinstance(records, memoryview) and not records.readonly):
        for position, header in batches:
            stamp(records, position, offset, leader_epoch)
            offset += header[6] + 1
        return (records,)
    if len(batches) == 1:
        prefix = stamped_prefix(records, 0, offset, leader_epoch)
        return (prefix, memoryview(records)[len(prefix) :])
    return stamped(bytearray(records), batches, offset, leader_epoch)


def with_append_time(
    records: Buffer, batches: Sequence[tuple[int, BatchHeader]], now_ms: int
) -> tuple[Buffer, list[tuple[int, BatchHeader]]]:
    """Rewrite every batch to LogAppendTime; a buffer that may not be written to is copied."""
    if isinstance(records, bytes) or (isinstance(records, memoryview) and records.readonly):
        records = bytearray(records)
    for position, _ in batches:
        set_log_append_time(records, position, now_ms)
    return records, [(position, header._replace(max_timestamp=now_ms)) for position, header in batches]
