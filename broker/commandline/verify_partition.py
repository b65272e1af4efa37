"""``manage.py verify_log`` for one partition's directory: every byte of the log, and every file beside it.

What must stay true in a healthy directory: segments follow each other without a hole; each batch has its CRC and the
offset that follows; what the indexes, the epoch file and the producer snapshots say is what the log says; everything
below the recovery point is there. Only reads: nothing is repaired, so it may look at a broker's files any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from broker.commandline.cross_checks import EpochCheck, OffsetIndexCheck, SnapshotCheck, TimeIndexCheck
from broker.commandline.findings import Findings, Severity
from broker.commandline.log_files import FileKind, ReadOnlyFiles, kind_of
from broker.commandline.transaction_checks import TransactionIndexCheck
from broker.errors import KafkaError
from broker.limits import FRAME_BYTES_MAX
from broker.protocol.batch import BATCH_LENGTH_MIN, HEADER, HEADER_SIZE, MAGIC, BatchHeader
from broker.protocol.markers import read_marker
from broker.protocol.records import iter_records
from broker.storage.checkpoints import PARTITION_METADATA_FILE, read_partition_metadata
from broker.storage.leader_epochs import LEADER_EPOCH_FILE, LeaderEpochs
from broker.storage.producer_snapshot import decode_snapshot
from broker.storage.segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    segment_path,
)
from broker.storage.segment_scan import DamageFound, scan_checked
from broker.types import TopicId

PROGRESS_BYTES = 4 * 1024 * 1024
"""How often progress is told."""
LEFTOVERS = (".deleted", ".tmp", ".cleaned", ".swap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the checkpoints of the log directory say; ``None`` where they say nothing."""

    recovery_point: int | None = None
    log_start: int | None = None
    high_watermark: int | None = None
    compacted: bool = False
    """Compaction has been at it: offsets may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    gaps_allowed: bool = False
    """Compaction may have taken offsets out."""
    torn_tail_allowed: bool = False
    deep: bool = False
    """Also open every batch and count its records."""


@dataclass(slots=True, kw_only=True)
class PartitionReport:
    findings: Findings = field(default_factory=Findings)
    segments: int = 0
    batches: int = 0
    records: int = 0
    bytes: int = 0
    log_start: int = 0
    log_end: int = 0
    topic_id: TopicId | None = None


def verify_partition(
    directory: str, known: Known, rules: Rules, advanced: Callable[[int], None] = lambda count: None
) -> PartitionReport:
    """``advanced`` is told how many bytes of log were read. Raises ``OSError`` if the disk does not answer."""
    return _Verification(directory, known, rules, advanced).run()


class _Verification:
    def __init__(self, directory: str, known: Known, rules: Rules, advanced: Callable[[int], None]) -> None:
        self.directory = directory
        self.known = known
        self.rules = rules
        self.advanced = advanced
        self.files = ReadOnlyFiles()
        self.report = PartitionReport()
        self.findings = self.report.findings

    def run(self) -> PartitionReport:
        bases, snapshots = self._survey()
        if not bases:
            self._without_segments()
            return self.report
        self.report.segments = len(bases)
        self.report.log_start = bases[0]
        self.epochs = EpochCheck(
            self._path(LEADER_EPOCH_FILE), self._epoch_entries(), self.findings, log_start=self.known.log_start or 0
        )
        self.snapshots = SnapshotCheck(self.findings)
        self.transactions = TransactionIndexCheck(
            self.findings,
            bases[0],
            gaps_allowed=self.rules.gaps_allowed,
            unfinished_allowed=self.rules.torn_tail_allowed,
        )
        for offset in snapshots:
            self._load_snapshot(offset)
        expected: int | None = bases[0]
        for index, base in enumerate(bases):
            self._check_start(base, expected)
            newest = index == len(bases) - 1
            next_offset, whole = self._segment(base, newest=newest)
            self.report.log_end = next_offset
            expected = next_offset if whole else None
        self._check_ends(bases[0], snapshots)
        return self.report

    def _survey(self) -> tuple[list[int], list[int]]:
        """Base offsets of segments, and offsets of snapshots; says what does not belong here."""
        found: dict[FileKind, list[int]] = {}
        try:
            names = sorted(self.files.list_directory(self.directory))
        except FileNotFoundError:
            self.findings.warning(self.directory, "gone since the log directory was listed: its topic was deleted")
            return [], []
        for name in names:
            if name.endswith(LEFTOVERS):
                self.findings.warning(self._path(name), "left by unfinished work; goes with the next start")
                continue
            known = kind_of(name)
            if known is not None:
                found.setdefault(known[0], []).append(known[1])
        segments = found.get(FileKind.LOG, [])
        for kind in (FileKind.OFFSET_INDEX, FileKind.TIME_INDEX, FileKind.TRANSACTION_INDEX):
            for base in found.get(kind, []):
                if base not in segments:
                    path = segment_path(self.directory, base, f".{kind.value}")
                    self.findings.warning(path, "there is no log for this index")
        if FileKind.PARTITION_METADATA in found:
            self.report.topic_id = read_partition_metadata(self.files, self.directory)
            if self.report.topic_id is None:
                self.findings.damage(self._path(PARTITION_METADATA_FILE), "names no topic id")
        else:
            self.findings.warning(self._path(PARTITION_METADATA_FILE), "missing: the topic's id is not known here")
        return segments, found.get(FileKind.SNAPSHOT, [])

    def _without_segments(self) -> None:
        point = self.known.recovery_point or 0
        if point > (self.known.log_start or 0):
            self.findings.damage(self.directory, f"everything below offset {point} was durable; there is no segment")
        else:
            self.findings.warning(self.directory, "no segment yet")

    # Segments --------------------------------------------------------------------------------------

    def _check_start(self, base: int, expected: int | None) -> None:
        path = segment_path(self.directory, base, LOG_SUFFIX)
        if expected is None or base == expected:
            return
        if base < expected:
            self.findings.damage(path, f"starts at offset {base}; the segment before ends at {expected}", offset=base)
        elif not self.rules.gaps_allowed:
            self.findings.damage(path, f"offsets {expected} to {base - 1} are missing before it", offset=expected)

    def _segment(self, base: int, *, newest: bool) -> tuple[int, bool]:
        """Read one segment; the offset that follows, and whether it was read to its end."""
        # Indexes first: a running broker writes them after the log, so what they say is in the log by then.
        offset_index, time_index = self._indexes(base, newest)
        transaction_index = segment_path(self.directory, base, TRANSACTION_INDEX_SUFFIX)
        self.transactions.begin(transaction_index, self.files.read_file(transaction_index), base)
        path = segment_path(self.directory, base, LOG_SUFFIX)
        try:
            fd = self.files.open(path)
        except FileNotFoundError:
            self.findings.warning(
                path, "gone since the directory was listed: a broker deletes old segments", offset=base
            )
            return base, False
        try:
            size = self.files.size(fd)
            self.report.bytes += size
            position, next_offset, whole = 0, base, True
            while position < size and whole:
                try:
                    for at, header in scan_checked(
                        self.files, fd, position, size, next_offset, gaps_allowed=self.rules.gaps_allowed
                    ):
                        offset_index.batch(at, header)
                        time_index.batch(header)
                        self.epochs.batch(path, at, header, newest_segment=newest)
                        self._batch(path, fd, at, header)
                        position, next_offset = at + header.size, header.next_offset
                except DamageFound as damage:
                    bad = self._damaged(path, fd, size, damage, newest=newest)
                    whole = bad is not None
                    if bad is not None:
                        # What points at the bad batch points right.
                        offset_index.batch(damage.position, bad)
                        time_index.batch(bad)
                        self.snapshots.batch(bad)
                        position = damage.position + bad.size
                        next_offset = self._following(fd, position, bad)
        finally:
            self.files.close(fd)
        offset_index.finish(whole=whole)
        time_index.finish(whole=whole)
        self.transactions.finish(whole=whole, newest=newest)
        return next_offset, whole

    def _indexes(self, base: int, newest: bool) -> tuple[OffsetIndexCheck, TimeIndexCheck]:
        contents = []
        for suffix in (INDEX_SUFFIX, TIME_INDEX_SUFFIX):
            path = segment_path(self.directory, base, suffix)
            content = self.files.read_file(path)
            if content is None and not newest:
                self.findings.warning(path, "missing; it is rebuilt when it is needed")
            contents.append((path, content or b""))
        return (
            OffsetIndexCheck(*contents[0], base, self.findings),
            TimeIndexCheck(*contents[1], base, self.findings),
        )

    def _batch(self, path: str, fd: int, position: int, header: BatchHeader) -> None:
        self.report.batches += 1
        self.report.records += max(0, header.record_count)
        self.snapshots.batch(header)
        marker = read_marker(self.files.pread(fd, header.size, position)) if header.is_control else None
        self.transactions.batch(header, marker)
        self.advanced(header.size)
        span = header.last_offset_delta + 1
        if header.record_count < 0 or header.record_count > span or (header.record_count != span and self._exact):
            what = f"{header.record_count} records in a batch of {span} offsets"
            self.findings.damage(path, what, position=position, offset=header.base_offset)
        elif self.rules.deep:
            self._open(path, fd, position, header)

    @property
    def _exact(self) -> bool:
        return not self.rules.gaps_allowed

    def _open(self, path: str, fd: int, position: int, header: BatchHeader) -> None:
        if header.size > FRAME_BYTES_MAX:
            self.findings.damage(path, "larger than any batch may be", position=position, offset=header.base_offset)
            return
        try:
            offsets = [record.offset for record in iter_records(self.files.pread(fd, header.size, position))]
        except KafkaError as error:
            self.findings.damage(path, error.message, position=position, offset=header.base_offset)
            return
        if len(offsets) != header.record_count or any(
            not header.base_offset <= offset <= header.last_offset for offset in offsets
        ):
            what = f"{len(offsets)} records inside, its header says {header.record_count}"
            self.findings.damage(path, what, position=position, offset=header.base_offset)

    def _damaged(self, path: str, fd: int, size: int, damage: DamageFound, *, newest: bool) -> BatchHeader | None:
        """Note it; the bad batch's header, if it is framed well enough to be stepped over."""
        header = self._header(fd, damage.position)
        if header is not None:
            framed = header.magic == MAGIC and header.batch_length >= BATCH_LENGTH_MIN
            if not framed or damage.position + header.size > size or header.base_offset < damage.offset:
                header = None
        at_the_end = newest and (header is None or damage.position + header.size == size)
        durable = damage.offset < (self.known.recovery_point or 0)
        torn = at_the_end and not durable and self.rules.torn_tail_allowed
        what = damage.reason
        if header is None:
            what += f"; the {size - damage.position} bytes from there on cannot be read"
        if durable:
            what += f"; everything below offset {self.known.recovery_point} was durable"
        severity = Severity.TORN if torn else Severity.DAMAGE
        self.findings.add(severity, path, what, position=damage.position, offset=damage.offset)
        return None if torn else header

    def _header(self, fd: int, position: int) -> BatchHeader | None:
        raw = self.files.pread(fd, HEADER_SIZE, position)
        return BatchHeader._make(HEADER.unpack(raw)) if len(raw) == HEADER_SIZE else None

    def _following(self, fd: int, position: int, bad: BatchHeader) -> int:
        """The offset to go on with behind a bad batch: its own word is not worth much, that of the next one is."""
        after = self._header(fd, position)
        if after is not None and after.magic == MAGIC and after.base_offset > bad.base_offset:
            return after.base_offset
        return max(bad.base_offset + 1, bad.next_offset)

    # Beside the log --------------------------------------------------------------------------------

    def _epoch_entries(self) -> list[tuple[int, int]] | None:
        path = self._path(LEADER_EPOCH_FILE)
        content = self.files.read_file(path)
        if content is None:
            return None
        try:
            return LeaderEpochs.decode(content).entries()
        except ValueError as error:
            self.findings.damage(path, f"cannot be read: {error}")
            return None

    def _load_snapshot(self, offset: int) -> None:
        path = segment_path(self.directory, offset, f".{FileKind.SNAPSHOT.value}")
        content = self.files.read_file(path)
        if content is None:
            return
        try:
            self.snapshots.add(path, offset, decode_snapshot(content))
        except ValueError as error:
            self.findings.damage(path, f"cannot be read: {error}")

    def _check_ends(self, first: int, snapshots: list[int]) -> None:
        known, end = self.known, self.report.log_end
        self.epochs.finish(end)
        self.snapshots.finish(first, end, gaps_allowed=self.rules.gaps_allowed)
        for offset in snapshots:
            if offset > end:
                path = segment_path(self.directory, offset, f".{FileKind.SNAPSHOT.value}")
                self.findings.warning(path, f"lies behind the end of the log, {end}", offset=offset)
        if known.log_start is not None:
            if first > known.log_start:
                what = f"the log starts at offset {known.log_start}, its first segment at {first}"
                # A running broker may have deleted segments since its last checkpoint.
                severity = Severity.WARNING if self.rules.torn_tail_allowed else Severity.DAMAGE
                self.findings.add(severity, self.directory, what, offset=known.log_start)
            self.report.log_start = max(first, known.log_start)
        if known.recovery_point is not None and known.recovery_point > end:
            what = f"everything below offset {known.recovery_point} was durable; the log ends at {end}"
            self.findings.damage(self.directory, what, offset=end)
        if known.high_watermark is not None and known.high_watermark > end:
            what = f"the high watermark was {known.high_watermark}; the log ends at {end}"
            self.findings.warning(self.directory, what, offset=end)

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)
