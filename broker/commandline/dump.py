"""``manage.py dump_log``: the content of Kafka's files on disk, one row per batch, record or entry.

Owns: reading. It tells what is there and judges only what it cannot read (``kind: damage``); whether files agree with
each other is ``verify_log``'s to say. Rows are made while the file is read, so size does not matter.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from broker.commandline.log_files import FileKind, ReadOnlyFiles
from broker.commandline.record_text import bytes_to_json, headers_to_json
from broker.errors import KafkaError
from broker.limits import FRAME_BYTES_MAX
from broker.protocol.batch import COMPRESSION_NAMES, DELETE_HORIZON, BatchHeader, crc_is_valid
from broker.protocol.markers import parse_marker
from broker.protocol.records import iter_records
from broker.storage.aborted_transactions import decode_fingerprints
from broker.storage.checkpoints import decode_offsets
from broker.storage.leader_epochs import LeaderEpochs
from broker.storage.producer_snapshot import decode_snapshot
from broker.storage.segment_scan import DamageFound, scan_headers
from broker.storage.transaction_index import ENTRY

Row = dict[str, Any]

CONTROL_TYPES = {0: "ABORT", 1: "COMMIT", 2: "LEADER_CHANGE", 3: "SNAPSHOT_HEADER", 4: "SNAPSHOT_FOOTER"}
_INDEX_ENTRY = struct.Struct(">ii")
_TIME_ENTRY = struct.Struct(">qi")
_CONTROL_KEY = struct.Struct(">hh")


Content = Callable[[bytes | None, bytes | None], Row]
"""How a record's key and value are shown."""


def plain_content(key: bytes | None, value: bytes | None) -> Row:
    return {**bytes_to_json("key", key), **bytes_to_json("payload", value)}


def dump_file(
    path: str, kind: FileKind, base_offset: int, *, deep: bool, content_of: Content = plain_content
) -> Iterator[Row]:
    """Rows with a ``kind`` each. Raises ``OSError``."""
    if kind is FileKind.LOG:
        yield from _log(path, base_offset, content_of if deep else None)
        return
    with open(path, "rb") as file:
        content = file.read()
    match kind:
        case FileKind.OFFSET_INDEX:
            yield from _entries(content, _INDEX_ENTRY, lambda delta, at: _offset_entry(base_offset + delta, at))
        case FileKind.TIME_INDEX:
            yield from _entries(content, _TIME_ENTRY, lambda time, delta: _time_entry(time, base_offset + delta))
        case FileKind.TRANSACTION_INDEX:
            yield from _entries(content, ENTRY, _transaction_entry)
        case FileKind.SNAPSHOT:
            yield from _readable(_snapshot, content)
        case FileKind.EPOCHS:
            yield from _readable(_epochs, content)
        case FileKind.ABORTED:
            yield from _readable(_aborted, content)
        case FileKind.OFFSETS:
            yield from _readable(_offsets, content)
        case FileKind.PARTITION_METADATA | FileKind.META_PROPERTIES:
            for line in content.decode("utf-8", "replace").splitlines():
                yield {"kind": "line", "text": line}


def text_of(row: Row) -> str:
    """A row as ``DumpLogSegments`` would write it: names and values, a record indented by a bar."""
    fields = [f"{name}: {_shown(value)}" for name, value in row.items() if name != "kind"]
    if row["kind"] == "record":
        return "| " + " ".join(fields)
    if row["kind"] == "line":
        return str(row["text"])
    return ("DAMAGE " if row["kind"] == "damage" else "") + " ".join(fields)


# Logs ----------------------------------------------------------------------------------------------


def _log(path: str, base_offset: int, content_of: Content | None) -> Iterator[Row]:
    files = ReadOnlyFiles()
    fd = files.open(path)
    try:
        size = files.size(fd)
        try:
            for position, header in scan_headers(files, fd, 0, size, base_offset, gaps_allowed=True, exact=False):
                yield from _batch(files, fd, position, header, content_of)
        except DamageFound as damage:
            yield {"kind": "damage", "position": damage.position, "offset": damage.offset, "reason": damage.reason}
    finally:
        files.close(fd)


def _batch(
    files: ReadOnlyFiles, fd: int, position: int, header: BatchHeader, content_of: Content | None
) -> Iterator[Row]:
    """The batch, and with ``content_of`` its records."""
    if header.size > FRAME_BYTES_MAX:
        yield _damage(position, header, f"a batch of {header.size} bytes is more than any client may send")
        return
    content = memoryview(files.pread(fd, header.size, position))
    valid = len(content) == header.size and crc_is_valid(content, 0, header.size)
    yield _batch_row(position, header, valid)
    if not valid:
        yield _damage(position, header, "the CRC does not match")
    elif content_of is not None:
        try:
            for number, record in enumerate(iter_records(content, verify_crc=False)):
                yield _record_row(header, number, record, content_of)
        except KafkaError as error:
            yield _damage(position, header, error.message)


def _batch_row(position: int, header: BatchHeader, valid: bool) -> Row:
    codec = header.compression
    return {
        "kind": "batch",
        "baseOffset": header.base_offset,
        "lastOffset": header.last_offset,
        "count": header.record_count,
        "baseSequence": header.base_sequence,
        "lastSequence": header.last_sequence,
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "partitionLeaderEpoch": header.leader_epoch,
        "isTransactional": header.is_transactional,
        "isControl": header.is_control,
        "deleteHorizonMs": header.base_timestamp if header.attributes & DELETE_HORIZON else None,
        "position": position,
        "timestampType": "LogAppendTime" if header.is_log_append_time else "CreateTime",
        "maxTimestamp": header.max_timestamp,
        "size": header.size,
        "magic": header.magic,
        "compresscodec": COMPRESSION_NAMES[codec] if codec < len(COMPRESSION_NAMES) else f"unknown {codec}",
        "crc": header.crc,
        "isvalid": valid,
    }


def _record_row(header: BatchHeader, number: int, record: Any, content_of: Content) -> Row:
    row: Row = {
        "kind": "record",
        "offset": record.offset,
        "timestamp": record.timestamp,
        "keySize": -1 if record.key is None else len(record.key),
        "valueSize": -1 if record.value is None else len(record.value),
        "sequence": -1 if header.base_sequence < 0 else (header.base_sequence + number) & 0x7FFFFFFF,
        "headers": headers_to_json(record.headers),
    }
    if header.is_control and record.key is not None and len(record.key) >= _CONTROL_KEY.size:
        _, number = _CONTROL_KEY.unpack_from(record.key)
        row["controlType"] = CONTROL_TYPES.get(number, f"unknown {number}")
        marker = parse_marker(record.key, record.value)
        return row if marker is None else {**row, "coordinatorEpoch": marker.coordinator_epoch}
    return {**row, **content_of(record.key, record.value)}


def _damage(position: int, header: BatchHeader, reason: str) -> Row:
    return {"kind": "damage", "position": position, "offset": header.base_offset, "reason": reason}


# Small files ---------------------------------------------------------------------------------------


def _entries(content: bytes, entry: struct.Struct, row: Any) -> Iterator[Row]:
    whole = len(content) - len(content) % entry.size
    for fields in entry.iter_unpack(memoryview(content)[:whole]):
        yield row(*fields)
    if whole < len(content):
        reason = f"{len(content)} bytes are no whole number of entries of {entry.size}"
        yield {"kind": "damage", "position": whole, "reason": reason}


def _offset_entry(offset: int, position: int) -> Row:
    return {"kind": "index entry", "offset": offset, "position": position}


def _time_entry(timestamp: int, offset: int) -> Row:
    return {"kind": "time index entry", "timestamp": timestamp, "offset": offset}


def _transaction_entry(version: int, producer_id: int, first: int, last: int, last_stable: int) -> Row:
    return {
        "kind": "aborted transaction",
        "version": version,
        "producerId": producer_id,
        "firstOffset": first,
        "lastOffset": last,
        "lastStableOffset": last_stable,
    }


def _readable(read: Any, content: bytes) -> Iterator[Row]:
    try:
        rows = list(read(content))
    except ValueError as error:
        rows = [{"kind": "damage", "reason": str(error)}]
    yield from rows


def _snapshot(content: bytes) -> Iterator[Row]:
    for entry in decode_snapshot(content):
        last = entry.batches[-1] if entry.batches else None
        yield {
            "kind": "producer",
            "producerId": entry.producer_id,
            "producerEpoch": entry.epoch,
            "coordinatorEpoch": entry.coordinator_epoch,
            "currentTxnFirstOffset": None if entry.transaction_start < 0 else entry.transaction_start,
            "lastTimestamp": entry.last_seen_ms,
            "firstSequence": last.first_sequence if last else -1,
            "lastSequence": last.last_sequence if last else -1,
            "lastOffset": last.last_offset if last else -1,
        }


def _epochs(content: bytes) -> Iterator[Row]:
    for epoch, start in LeaderEpochs.decode(content).entries():
        yield {"kind": "leader epoch", "epoch": epoch, "startOffset": start}


def _aborted(content: bytes) -> Iterator[Row]:
    for base, (count, crc) in sorted(decode_fingerprints(content).items()):
        yield {"kind": "transaction index", "baseOffset": base, "entries": count, "crc": crc}


def _offsets(content: bytes) -> Iterator[Row]:
    for (topic, partition), offset in sorted(decode_offsets(content).items()):
        yield {"kind": "offset", "topic": topic, "partition": partition, "offset": offset}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)
