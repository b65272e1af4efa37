"""Coordinators' records in and out of record batches, whatever the records are about. Pure.

A record that cannot be read (written by a newer protocol, or by something that is not a coordinator) is for the caller to report and
to skip, as ``None``: one stranger in the log must not take down everybody beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from broker.protocol import records as batches
from broker.protocol.batch import BatchHeader, scan_batches
from broker.types import Buffer, Offset

Entry = TypeVar("Entry")

_RECORD_OVERHEAD_BYTES = 32
"""More than a record's own varints take."""


def fitting(
    encoded: Iterable[tuple[bytes, bytes | None]], now_ms: int, batch_bytes_max: int
) -> Iterator[list[batches.Record]]:
    """Keys and values in as many runs as it takes for each to fit into one batch."""
    batch: list[batches.Record] = []
    size = 0
    for key, value in encoded:
        record_size = len(key) + len(value or b"") + _RECORD_OVERHEAD_BYTES
        if batch and size + record_size > batch_bytes_max:
            yield batch
            batch, size = [], 0
        batch.append(batches.Record(timestamp=now_ms, key=key, value=value))
        size += record_size
    if batch:
        yield batch


def read_entries(
    pieces: Sequence[Buffer], from_offset: Offset, read: Callable[[BatchHeader, batches.Record], Entry | None]
) -> Iterator[tuple[Offset, Entry | None]]:
    """(offset, entry) from ``from_offset`` on; also ``None`` for the last offset of a batch that compaction has emptied."""
    view = memoryview(b"".join(pieces))
    for at, header in scan_batches(view):
        last_offset = header.last_offset
        if last_offset < from_offset:
            continue
        seen = -1
        for record in batches.iter_records(view[at : at + header.size]):
            if record.offset >= from_offset:
                seen = record.offset
                yield seen, read(header, record)
        if seen < last_offset:
            yield last_offset, None
