"""Opening one partition's directory: what is there, what of it can be trusted, what must be cut.

Owns: the judgement on every file found at start-up. The rule is where the damage lies:

    past the recovery point     a torn tail: cut it there; whole segments behind it are set aside, not deleted
    below the recovery point    data that was once durable is gone: ``PartitionDamaged``, nothing is changed

The recovery point is the offset below which everything was fsynced when it was last checkpointed. After a clean
stop it is the log's end, so nothing is scanned; the bytes are then checked when they are first read. Indexes, epochs
and producer state are shortcuts and are rebuilt from the batches when they do not fit.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from broker.config.topic import TopicConfig
from broker.storage.aborted_recovery import AbortedRecovery
from broker.storage.deletions import DELETED_SUFFIX
from broker.storage.environment import LogEnvironment
from broker.storage.leader_epochs import LEADER_EPOCH_FILE, LeaderEpochs
from broker.storage.producer_replay import recall_unreplicated, replay_producers
from broker.storage.producer_snapshot import SNAPSHOT_SUFFIX, ProducerSnapshots
from broker.storage.producer_state import ProducerState
from broker.storage.recent_batches import recall_recent_batches
from broker.storage.roll_policy import reserve_bytes
from broker.storage.segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    RELATIVE_OFFSET_MAX,
    TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    Segment,
)
from broker.storage.segment_scan import DamageFound
from broker.storage.segment_swap import finish_interrupted
from broker.types import Offset

STRAY_DIRECTORY = "stray"
CUT_SUFFIX = ".cut"
COPY_CHUNK_BYTES = 1024 * 1024
UNFINISHED_SUFFIXES = (DELETED_SUFFIX, ".tmp", ".cleaned")
INDEX_SUFFIXES = (INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX)

_DATA_FILE = re.compile(r"(\d{20})(\.\w+)")


class PartitionDamaged(Exception):
    """Data below the recovery point does not read. The files are as they were found."""


@dataclass(slots=True)
class LoadedPartition:
    """A partition's state as recovery left it; everything below ``log_end_offset`` is durable."""

    segments: list[Segment]
    epochs: LeaderEpochs
    producers: ProducerState
    snapshots: ProducerSnapshots
    log_start_offset: int
    log_end_offset: int
    aborted_saved: bytes
    """The checkpoint of the transaction indexes, as it is on disk."""
    epochs_saved: bool = True
    """Whether the file says what ``epochs`` say; if not, the next roll or clean close writes it."""
    notes: list[str] = field(default_factory=list)
    """What was repaired, for the log of the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBefore:
    """What the checkpoints say about a partition; ``None`` where they say nothing."""

    recovery_point: int = 0
    log_start_offset: int | None = None
    clean_shutdown: bool = False
    synced: bool = False
    """Everything that was found has been made durable."""
    high_watermark: int = 0
    compacted: bool = False
    """Compaction has been at it, whatever the policy is now: offsets may be missing."""


def load_partition(
    environment: LogEnvironment, directory: str, known: KnownBefore, config: TopicConfig, now_ms: int
) -> LoadedPartition:
    """Raises ``PartitionDamaged``; ``OSError`` if the disk does not answer."""
    return _Recovery(environment, directory, known, config, now_ms).run()


class _Recovery:
    """One opening of one partition. Looks first, changes files only once it knows nothing durable is lost."""

    def __init__(
        self, environment: LogEnvironment, directory: str, known: KnownBefore, config: TopicConfig, now_ms: int
    ) -> None:
        self.environment = environment
        self.filesystem = environment.filesystem
        self.directory = directory
        self.known = known
        self.config = config
        self.now_ms = now_ms
        self.notes: list[str] = []
        self.epochs: LeaderEpochs | None = None
        self.cut: DamageFound | None = None
        self.scanned: list[Segment] = []
        self.with_markers: set[Offset] = set()
        """Base offsets of scanned segments with control batches in them."""
        self.with_aborted_file: set[Offset] = set()
        self.names_changed = False
        """A file was made or removed since everything was synced."""

    def run(self) -> LoadedPartition:
        segments, snapshot_offsets = self._survey()
        self.first = segments[0]
        self.snapshots = ProducerSnapshots(self.filesystem, self.directory, snapshot_offsets)
        self.producers = ProducerState()
        if self.known.log_start_offset is not None and segments[0].base_offset > self.known.log_start_offset:
            raise PartitionDamaged(
                f"The log starts at offset {self.known.log_start_offset}, but its first segment file is "
                f"{os.path.basename(segments[0].file.path)}: segment files are missing."
            )
        self._load_epochs()
        kept = self._judge(segments)
        log_end = kept[-1].next_offset
        if max(log_end, self.known.log_start_offset or 0) < self.known.recovery_point:
            raise PartitionDamaged(
                f"Everything below offset {self.known.recovery_point} was durable, but the log ends at {log_end}: "
                f"files are missing or were cut short."
            )
        self._apply_cut(kept, segments[len(kept) :])
        log_start = max(segments[0].base_offset, self.known.log_start_offset or 0)
        if log_start > log_end:
            kept, log_end = [self._start_over(kept, log_start)], log_start
        epochs, epochs_saved = self._finish_epochs(kept, log_start, log_end)
        try:
            self._load_producers(kept, log_start, log_end)
        except DamageFound as damage:
            raise PartitionDamaged(f"{damage}: the state of producers cannot be made from the log.") from damage
        return LoadedPartition(
            segments=kept,
            epochs=epochs,
            producers=self.producers,
            snapshots=self.snapshots,
            log_start_offset=log_start,
            log_end_offset=log_end,
            aborted_saved=self.aborted_saved,
            epochs_saved=epochs_saved,
            notes=self.notes,
        )

    # Looking ---------------------------------------------------------------------------------------

    def _survey(self) -> tuple[list[Segment], list[int]]:
        """Segments by base offset and the snapshots' offsets; leftovers of unfinished work go."""
        self._finish_swaps()
        sizes: dict[int, int] = {}
        snapshots: list[int] = []
        indexes: list[tuple[int, str]] = []
        for name in self.filesystem.list_directory(self.directory):
            path = os.path.join(self.directory, name)
            if name.endswith(UNFINISHED_SUFFIXES):
                self.filesystem.unlink(path)
                self.names_changed = True
                continue
            match = _DATA_FILE.fullmatch(name)
            if match is None:
                continue
            base, suffix = int(match[1]), match[2]
            if suffix == LOG_SUFFIX:
                status = self.filesystem.status(path)
                sizes[base] = status.size if status else 0
            elif suffix == SNAPSHOT_SUFFIX:
                snapshots.append(base)
            elif suffix in INDEX_SUFFIXES:
                indexes.append((base, path))
                if suffix == TRANSACTION_INDEX_SUFFIX:
                    self.with_aborted_file.add(base)
        for base, path in indexes:
            if base not in sizes:
                self.filesystem.unlink(path)
                self.names_changed = True
        segments = [self._segment(base, sizes[base]) for base in sorted(sizes)]
        return segments or [self._first_segment()], snapshots

    def _finish_swaps(self) -> None:
        try:
            finished = finish_interrupted(self.filesystem, self.directory)
            self.names_changed = bool(finished)
            self.notes += finished
        except DamageFound as damage:
            raise PartitionDamaged(
                f"Compaction was interrupted, and the segment it had finished cannot be read: {damage}."
            ) from damage

    def _first_segment(self) -> Segment:
        """A directory without a log: new, or created just before a crash, or robbed of its files."""
        start = self.known.log_start_offset or 0
        if self.known.recovery_point > start:
            raise PartitionDamaged(
                f"Everything below offset {self.known.recovery_point} was durable, but there is no segment file."
            )
        segment = self._segment(start)
        segment.create(reserve_bytes=reserve_bytes(self.config))
        self.names_changed = True
        return segment

    def _segment(self, base_offset: int, size: int = 0) -> Segment:
        gaps_allowed = self.known.compacted or "compact" in self.config.cleanup_policy
        return Segment(self.environment, self.directory, base_offset, size, gaps_allowed=gaps_allowed)

    def _judge(self, segments: list[Segment]) -> list[Segment]:
        """Look at or scan each segment, oldest first; returns those to keep, up to the first cut."""
        gap_bytes_max = self.config.index_interval_bytes + 2 * self.config.max_message_bytes
        for index, segment in enumerate(segments):
            following = segments[index + 1].base_offset if index + 1 < len(segments) else None
            trusted = self.known.clean_shutdown or (following is not None and following <= self.known.recovery_point)
            try:
                if trusted:
                    segment.look_at_tail(gap_bytes_max)
                else:
                    self._scan(segment)
                if following is not None and not _joins(segment, following):
                    raise DamageFound(
                        segment.size, segment.next_offset, f"the next segment file starts at offset {following}"
                    )
            except DamageFound as damage:
                if trusted or damage.offset < self.known.recovery_point:
                    raise PartitionDamaged(
                        f"{os.path.basename(segment.file.path)}: {damage}. Everything below offset "
                        f"{self.known.recovery_point} was durable, so this is not a torn write."
                    ) from damage
                self.cut = damage
                return segments[: index + 1]
        return segments

    def _scan(self, segment: Segment) -> None:
        if self.epochs is None and segment is self.first:
            self.epochs = LeaderEpochs()
        epochs = self.epochs
        if epochs is not None and not self.scanned:
            # The file may be newer than the batches: a truncation and what followed it were lost, its name was not.
            epochs.truncate_from_end(segment.base_offset)
        self.scanned.append(segment)
        for header in segment.recover(self.config.index_interval_bytes):
            if epochs is not None:
                epochs.learn(header.leader_epoch, header.base_offset)
            if header.is_control:
                self.with_markers.add(segment.base_offset)

    # Changing --------------------------------------------------------------------------------------

    def _apply_cut(self, kept: list[Segment], behind: list[Segment]) -> None:
        """Make what was judged true on disk, and durable: from here on the log's end is the recovery point."""
        last = kept[-1]
        if self.cut is not None:
            status = self.filesystem.status(last.file.path)
            cut_bytes = (status.size if status else last.size) - last.size
            self.notes.append(f"cut {cut_bytes} bytes behind offset {last.next_offset - 1}: {self.cut}")
            self._keep_aside(last, cut_bytes, self.cut)
            for segment in reversed(behind):
                self._set_aside(segment)
            self.filesystem.truncate(self.environment.files.use(last.file), last.size)
        # Also one that ends at the recovery point, unless it was synced as it is: a truncation may not have reached the disk.
        changed = self.scanned if not self.known.synced else [last] if self.cut is not None else []
        for segment in changed:
            self.filesystem.datasync(self.environment.files.use(segment.file))
        if changed or (self.scanned and self.names_changed):
            self.filesystem.sync_directory(self.directory)

    def _keep_aside(self, segment: Segment, cut_bytes: int, cut: DamageFound) -> None:
        """Copy what is about to be cut to ``stray/``, unless it is plainly one torn write: perhaps someone wants it."""
        source = self.environment.files.use(segment.file)
        if cut_bytes <= self.config.max_message_bytes:
            tail = self.filesystem.pread(source, cut_bytes, segment.size)
            if cut.torn or not tail.strip(b"\0"):
                return
        name = self._stray_path(f"{segment.next_offset:020d}.{self.now_ms}{CUT_SUFFIX}")
        copy = self.filesystem.open(name, create=True)
        try:
            position, end = segment.size, segment.size + cut_bytes
            while position < end:
                piece = self.filesystem.pread(source, min(COPY_CHUNK_BYTES, end - position), position)
                if not piece:
                    break
                self.filesystem.writev(copy, (piece,))
                position += len(piece)
        finally:
            self.filesystem.close(copy)
        self.notes.append(f"kept what was cut as {STRAY_DIRECTORY}/{os.path.basename(name)}")

    def _set_aside(self, segment: Segment) -> None:
        """A segment behind a hole can never be read in order; it may still hold data someone wants."""
        segment.close()
        for path in segment.paths():
            if self.filesystem.status(path) is not None:
                self.filesystem.rename(path, self._stray_path(os.path.basename(path)))
        self.notes.append(f"moved {os.path.basename(segment.file.path)} to {STRAY_DIRECTORY}/: it is behind a hole")

    def _stray_path(self, name: str) -> str:
        log_dir, partition = os.path.split(self.directory)
        stray = os.path.join(log_dir, STRAY_DIRECTORY)
        self.filesystem.make_directory(stray)
        return os.path.join(stray, f"{partition}.{name}")

    def _start_over(self, segments: list[Segment], start: int) -> Segment:
        """Records were deleted up to ``start`` by request, and the log behind it was lost unflushed."""
        for segment in reversed(segments):
            self._set_aside(segment)
        fresh = self._segment(start)
        fresh.create(reserve_bytes=reserve_bytes(self.config))
        self.filesystem.sync_directory(self.directory)
        return fresh

    # Rebuilding ------------------------------------------------------------------------------------

    def _load_epochs(self) -> None:
        content = self.filesystem.read_file(os.path.join(self.directory, LEADER_EPOCH_FILE))
        self.epochs_content = content
        if content is None:
            return
        try:
            self.epochs = LeaderEpochs.decode(content)
        except ValueError as error:
            self.notes.append(f"rebuilt {LEADER_EPOCH_FILE}: {error}")

    def _finish_epochs(self, segments: list[Segment], log_start: int, log_end: int) -> tuple[LeaderEpochs, bool]:
        """The epochs, and whether they are on disk. Those of the last segment need not be: a scan learns them again."""
        epochs = self.epochs
        if epochs is None:
            epochs = LeaderEpochs()
            for segment in segments:
                for _, header in segment.headers():
                    epochs.learn(header.leader_epoch, header.base_offset)
        epochs.truncate_from_end(log_end)
        epochs.truncate_from_start(log_start)
        epochs.reach_back_to(log_start)
        content = epochs.encode() if epochs.entries() else None
        # After a kill the file may be as it should and still not be on disk.
        saved = (self.known.clean_shutdown or self.known.synced) and content == self.epochs_content
        if not saved and len(segments) > 1:
            path = os.path.join(self.directory, LEADER_EPOCH_FILE)
            self.filesystem.replace_file(path, epochs.encode())
            saved = True
        return epochs, saved

    def _load_producers(self, segments: list[Segment], log_start: int, log_end: int) -> None:
        """Newest snapshot, then the batches behind it. After a crash, when the last segment is read anyway, one from
        before it is preferred: a replay brings back five batches of each producer, a snapshot only the last. Scanned
        segments with markers are replayed as well: that makes their transaction indexes."""
        aborted = AbortedRecovery(
            self.filesystem,
            self.directory,
            segments,
            self.scanned,
            self.with_aborted_file,
            clean=self.known.clean_shutdown,
        )
        highest = log_end if self.known.clean_shutdown else segments[-1].base_offset
        highest = min([highest, *(s.base_offset for s in segments if s.base_offset in self.with_markers)])
        found = self.snapshots.load_newest(self.producers, log_start, highest)
        replay_from = log_start if found is None else found
        recall_unreplicated(
            segments,
            self.producers,
            replay_from,
            self.snapshots,
            log_start=log_start,
            high_watermark=self.known.high_watermark,
            now_ms=self.now_ms,
        )
        if found is not None:
            recall_recent_batches(segments, self.producers, found)
        replay_producers(segments, self.producers, replay_from, self.now_ms, aborted.note)
        self.snapshots.keep_only({segment.base_offset for segment in segments} | {found or 0})
        self.aborted_saved = aborted.finish(self.snapshots, log_start, self.now_ms)
        self.notes += aborted.notes


def _joins(segment: Segment, following: int) -> bool:
    """Whether the next segment begins where this one ends; only a gap no relative offset spans may lie between."""
    if segment.gaps_allowed and following - segment.base_offset > RELATIVE_OFFSET_MAX:
        return segment.next_offset <= following
    return segment.next_offset == following
