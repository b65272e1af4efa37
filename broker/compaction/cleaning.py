"""What becomes of one batch when its log is compacted. Pure: bytes in, bytes out.

Owns Kafka's rules for records (``LogCleaner.shouldRetainRecord``) and batches (``checkBatchRetention``):

    a record            stays if nothing newer of its key is below the map's end; without a key it goes
    a tombstone         stays like any record, until the delete horizon of its batch
    behind the map      everything stays
    a control batch     stays until it may be dropped (``transactions.py``) and its delete horizon has passed
    an aborted record   goes

The *delete horizon* (KIP-534) is a point in time written into a batch the first time it is compacted with a tombstone or
a marker that may go: now + delete.retention.ms, as the batch's base timestamp, marked by attribute bit 6.

Offsets never change, and a batch keeps its base and last offset whatever it loses. A batch that loses all records
vanishes, with two exceptions. The last one of a producer that is still known stays, empty, for its sequence. And so does the
first one of a leader epoch: whoever copies the log learns from it where the epoch begins, and one that it believed to
begin later would tell a diverged replica to keep what was never part of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from broker.compaction.offset_map import OffsetMap
from broker.compaction.transactions import Marker, TransactionFilter
from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import DELETE_HORIZON, BatchHeader
from broker.protocol.raw_records import (
    RawRecord,
    emptied_batch,
    placeholder_batch,
    rebased,
    rebuilt_batch,
    records_of,
    scan_records,
)
from broker.types import Buffer


class ProducerTail(NamedTuple):
    """Where a producer that is still known wrote last."""

    epoch: int
    last_data_offset: int
    """-1: only markers of this epoch are in the log."""


@dataclass(slots=True)
class CleaningCounts:
    """What one pass met and kept."""

    records_read: int = 0
    records_kept: int = 0
    tombstones_dropped: int = 0


class BatchCleaner:
    """Asked about every batch from the log's start on, in order."""

    __slots__ = ("_delete_retention_ms", "_end_offset", "_epoch", "_filter", "_map", "_now_ms", "_producers", "counts")

    def __init__(
        self,
        offsets: OffsetMap,
        transactions: TransactionFilter,
        *,
        end_offset: int,
        now_ms: int,
        delete_retention_ms: int,
        producers: Mapping[int, ProducerTail],
        counts: CleaningCounts,
    ) -> None:
        """Batches from ``end_offset`` on are none of this pass's business."""
        self._map = offsets
        self._filter = transactions
        self._end_offset = end_offset
        self._now_ms = now_ms
        self._delete_retention_ms = delete_retention_ms
        self._producers = producers
        self._epoch: int | None = None
        """Of the batch before. The first epoch of a log begins where the log does, whatever becomes of its first batch."""
        self.counts = counts

    def clean(self, header: BatchHeader, whole: Buffer, marker: Marker | None) -> Buffer:
        """The bytes to keep of the batch ``whole``: itself, a smaller one, or none. Raises ``KafkaError``."""
        self.counts.records_read += header.record_count
        begins_epoch = self._epoch is not None and header.leader_epoch != self._epoch
        self._epoch = header.leader_epoch
        if header.base_offset >= self._end_offset:
            self.counts.records_kept += header.record_count
            return whole
        droppable = self._filter.may_drop(header, marker)
        if header.is_control:
            kept = self._control(header, whole, droppable)
        elif droppable:
            kept = b""
        else:
            kept = self._data(header, whole)
        if kept:
            return kept
        if self._is_a_producers_last(header):
            return emptied_batch(header)
        return placeholder_batch(header) if begins_epoch else b""

    def _is_a_producers_last(self, header: BatchHeader) -> bool:
        tail = self._producers.get(header.producer_id) if header.has_producer_id else None
        if tail is None:
            return False
        if tail.last_data_offset >= 0:
            return header.last_offset == tail.last_data_offset
        return header.is_control and header.producer_epoch == tail.epoch

    def _control(self, header: BatchHeader, whole: Buffer, droppable: bool) -> Buffer:
        if header.record_count == 0:
            return b""
        horizon = _delete_horizon(header)
        if not droppable:
            self.counts.records_kept += header.record_count
            return whole
        if horizon is not None:
            if horizon <= self._now_ms:
                return b""
            self.counts.records_kept += header.record_count
            return whole
        data = records_of(header, whole)
        return self._rebuild(header, data, list(scan_records(data, header.record_count)), horizon_is_due=True)

    def _data(self, header: BatchHeader, whole: Buffer) -> Buffer:
        if header.record_count == 0:
            return b""
        data = records_of(header, whole)
        horizon = _delete_horizon(header)
        keeps_tombstones = horizon is None or self._now_ms < horizon
        kept: list[RawRecord] = []
        tombstones = False
        map_end, newest, base_offset = self._map.latest_offset, self._map.get, header.base_offset
        for record in scan_records(data, header.record_count):
            offset = base_offset + record.offset_delta
            if offset <= map_end:
                if record.key is None:
                    continue
                if offset < newest(record.key):
                    continue
                if not record.has_value and not keeps_tombstones:
                    self.counts.tombstones_dropped += 1
                    continue
            tombstones |= not record.has_value
            kept.append(record)
        horizon_is_due = tombstones and horizon is None
        if len(kept) == header.record_count and not horizon_is_due:
            self.counts.records_kept += len(kept)
            return whole
        return self._rebuild(header, data, kept, horizon_is_due=horizon_is_due) if kept else b""

    def _rebuild(self, header: BatchHeader, data: bytes, kept: list[RawRecord], *, horizon_is_due: bool) -> bytes:
        self.counts.records_kept += len(kept)
        newest = header.max_timestamp
        if not header.is_log_append_time:
            newest = header.base_timestamp + max(record.timestamp_delta for record in kept)
        if not horizon_is_due:
            records = b"".join([data[record.start : record.end] for record in kept])
            return rebuilt_batch(header, records, count=len(kept), max_timestamp=newest, delete_horizon_ms=None)
        horizon = self._now_ms + self._delete_retention_ms
        shift_ms = header.base_timestamp - horizon
        records = b"".join([rebased(data, record, shift_ms) for record in kept])
        return rebuilt_batch(header, records, count=len(kept), max_timestamp=newest, delete_horizon_ms=horizon)


def add_to_map(offsets: OffsetMap, header: BatchHeader, whole: Buffer, start_offset: int) -> bool:
    """Put the keys of a data batch into the map, from ``start_offset`` on; False when it is full before the batch is in.

    A batch is taken whole or up to the key that did not fit: what the map says it has seen is true either way.
    """
    data = records_of(header, whole)
    for record in scan_records(data, header.record_count):
        offset = header.base_offset + record.offset_delta
        if offset < start_offset:
            continue
        if record.key is not None:
            if offsets.is_full:
                return False
            offsets.put(record.key, offset)
        offsets.latest_offset = offset
    offsets.latest_offset = max(offsets.latest_offset, header.last_offset)
    return True


def marker_of(header: BatchHeader, whole: Buffer) -> Marker | None:
    """What a control batch says about its producer's transaction; ``None`` for every other batch."""
    if not header.is_control or header.record_count == 0:
        return None
    for record in scan_records(records_of(header, whole), header.record_count):
        if record.key is None or len(record.key) < _MARKER_KEY_BYTES:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"The control batch at {header.base_offset} has no type.")
        kind = int.from_bytes(record.key[2:4], "big", signed=True)
        return Marker(kind) if kind in (Marker.ABORT.value, Marker.COMMIT.value) else None
    return None


_MARKER_KEY_BYTES = 4
"""Version int16 and type int16."""


def _delete_horizon(header: BatchHeader) -> int | None:
    return header.base_timestamp if header.attributes & DELETE_HORIZON else None
