"""Reads the replicas' files of stopped brokers into the checker's form. Only reads, and verifies every checksum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from broker.commandline.log_files import ReadOnlyFiles
from broker.protocol.batch import BatchHeader
from broker.protocol.markers import read_marker
from broker.protocol.records import iter_records
from broker.storage.checkpoints import HIGH_WATERMARK_FILE, LOG_START_FILE, read_offsets
from broker.storage.leader_epochs import LEADER_EPOCH_FILE, LeaderEpochs
from broker.storage.segment_scan import scan_checked
from broker.types import TopicPartition
from tests.faults.checker.dump import ABORT, COMMIT, DATA, OTHER_CONTROL, TRANSACTIONAL, Batch, Replica
from tests.faults.checker.history import Seen
from tests.faults.values import decode_value

LOG_SUFFIX = ".log"


def read_replicas(broker: int, log_dir: Path, topics: Iterable[str]) -> Iterator[Replica]:
    """Every partition of these topics in a broker's log directory."""
    files = ReadOnlyFiles()
    starts = read_offsets(files, str(log_dir / LOG_START_FILE))
    watermarks = read_offsets(files, str(log_dir / HIGH_WATERMARK_FILE))
    wanted = set(topics)
    for directory in sorted(log_dir.iterdir()):
        topic, _, number = directory.name.rpartition("-")
        if topic not in wanted or not directory.is_dir():
            continue
        place = TopicPartition(topic, int(number))
        batches, first, end = _read_batches(files, directory)
        yield Replica(
            broker=broker,
            key=directory.name,
            log_start=max(first, starts.get(place, 0)),
            log_end=end,
            high_watermark=watermarks.get(place, 0),
            epochs=_epochs(directory),
            batches=batches,
        )


def _read_batches(files: ReadOnlyFiles, directory: Path) -> tuple[list[Batch], int, int]:
    batches: list[Batch] = []
    paths = sorted(directory.glob(f"*{LOG_SUFFIX}"))
    first = int(paths[0].stem) if paths else 0
    end = first
    for path in paths:
        fd = files.open(str(path))
        try:
            base = int(path.stem)
            for position, header in scan_checked(files, fd, 0, files.size(fd), base, gaps_allowed=True):
                batches.append(_batch(header, files.pread(fd, header.size, position)))
                end = header.next_offset
            end = max(end, base)
        finally:
            files.close(fd)
    return batches, first, end


def _batch(header: BatchHeader, content: bytes) -> Batch:
    records: list[Seen] = []
    kind = TRANSACTIONAL if header.is_transactional else DATA
    if header.is_control:
        marker = read_marker(content)
        kind = OTHER_CONTROL if marker is None else COMMIT if marker.commit else ABORT
    else:
        records = [
            Seen(record.offset, decode_value(record.value)[0], (record.key or b"").decode())
            for record in iter_records(content)
        ]
    return Batch(
        header.base_offset,
        header.last_offset,
        header.leader_epoch,
        header.crc,
        kind,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        records,
    )


def _epochs(directory: Path) -> list[tuple[int, int]]:
    path = directory / LEADER_EPOCH_FILE
    return LeaderEpochs.decode(path.read_bytes()).entries() if path.exists() else []
