"""What the files of a partition's replicas have to have in common, read without the code that wrote them.

Owns: walking a replica's batches by the three header fields that say where they are, and comparing replicas byte by byte.
Below the high watermark every replica that has a batch at an offset has the very same bytes there.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker.commandline.log_files import partition_of
from broker.storage.checkpoints import HIGH_WATERMARK_FILE, PARTITION_METADATA_FILE, decode_offsets
from broker.types import TopicPartition

_BASE_AND_LENGTH = struct.Struct(">qi")
_LAST_OFFSET_DELTA_AT = 23
_HEADER_SIZE = 61


def batches(directory: Path) -> Iterator[tuple[int, int, bytes]]:
    """(base offset, next offset, bytes) of each whole batch, in order. Ends where a write was interrupted."""
    for segment in sorted(directory.glob("*.log")):
        content, at = segment.read_bytes(), 0
        while at + _HEADER_SIZE <= len(content):
            base, length = _BASE_AND_LENGTH.unpack_from(content, at)
            size = _BASE_AND_LENGTH.size + length
            if size < _HEADER_SIZE or at + size > len(content):
                break
            (last_delta,) = struct.unpack_from(">i", content, at + _LAST_OFFSET_DELTA_AT)
            yield base, base + last_delta + 1, content[at : at + size]
            at += size


def log_end(directory: Path) -> int:
    return max((next_offset for _, next_offset, _ in batches(directory)), default=0)


def high_watermark(directory: Path) -> int:
    """As last checkpointed: everything below is committed."""
    checkpoint = directory.parent / HIGH_WATERMARK_FILE
    topic, _, index = directory.name.rpartition("-")
    known = decode_offsets(checkpoint.read_bytes()) if checkpoint.exists() else {}
    return known.get(TopicPartition(topic, int(index)), 0)


def replicas_of(data_directories: Mapping[int, Path]) -> dict[str, dict[int, Path]]:
    """By ``<topic>-<index>``: the replica on each broker. One that belongs to a deleted topic of the name is left out."""
    found: dict[str, dict[int, Path]] = {}
    for broker_id, data_directory in data_directories.items():
        for metadata in data_directory.glob(f"*-*/{PARTITION_METADATA_FILE}"):
            if partition_of(str(metadata.parent)) is None:
                continue  # deleted, or on its way out
            found.setdefault(metadata.parent.name, {})[broker_id] = metadata.parent
    return {name: _of_one_topic(replicas) for name, replicas in found.items()}


def assert_replicas_agree(replicas: Mapping[int, Path], committed: int | None = None) -> None:
    """Below ``committed``, by default the highest watermark that a replica has checkpointed.

    Logs begin where retention left them and end where their broker died, so each two are compared where both have
    batches: there they consist of the same ones.
    """
    if committed is None:
        committed = max((high_watermark(directory) for directory in replicas.values()), default=0)
    logs = {broker_id: _below(directory, committed) for broker_id, directory in replicas.items()}
    for (one, one_log), (other, other_log) in itertools.combinations(logs.items(), 2):
        if not one_log or not other_log:
            continue
        start = max(one_log[0].base_offset, other_log[0].base_offset)
        end = min(one_log[-1].next_offset, other_log[-1].next_offset)
        ours, theirs = (
            [seen for seen in log if seen.base_offset >= start and seen.next_offset <= end]
            for log in (one_log, other_log)
        )
        difference = next((pair for pair in itertools.zip_longest(ours, theirs) if pair[0] != pair[1]), None)
        assert difference is None, (
            f"{replicas[one].name} differs below the high watermark {committed}:\n"
            f"broker {one} has {difference[0]}\nbroker {other} has {difference[1]}"
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """A batch, without what may be large of it."""

    base_offset: int
    next_offset: int
    header: str
    digest: bytes


def _below(directory: Path, committed: int) -> list[_Seen]:
    return [
        _Seen(base, next_offset, content[:_HEADER_SIZE].hex(), hashlib.sha256(content).digest())
        for base, next_offset, content in batches(directory)
        if next_offset <= committed
    ]


def _of_one_topic(replicas: dict[int, Path]) -> dict[int, Path]:
    """Those of the topic id that was written last."""
    newest = max(replicas.values(), key=lambda directory: (directory / PARTITION_METADATA_FILE).stat().st_mtime_ns)
    identity = (newest / PARTITION_METADATA_FILE).read_bytes()
    return {
        broker_id: directory
        for broker_id, directory in replicas.items()
        if (directory / PARTITION_METADATA_FILE).read_bytes() == identity
    }
