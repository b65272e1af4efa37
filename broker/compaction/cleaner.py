"""One pass of compaction over one partition, outside the broker: read, decide, write beside, hand over.

Owns: the order of work. First the whole range is read and verified; then segment after segment is cleaned into a new file,
several small ones into one as far as the topic's limits allow, and each new file is handed to ``swap`` before the next is
begun. Oldest first, always: a tombstone may only vanish when the older values it hides are gone for good, so a swap that
is refused ends the pass.

Touches nothing that the broker uses: it opens closed segments for reading and writes ``.cleaned`` files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from broker.compaction.cleaning import BatchCleaner, CleaningCounts, ProducerTail
from broker.compaction.offset_map import OffsetMap
from broker.compaction.plan import PlannedCompaction
from broker.compaction.reading import Moved, SegmentReader, Surveyed, survey
from broker.compaction.transactions import Marker, TransactionFilter
from broker.protocol.batch import BatchHeader, read_header
from broker.protocol.private import CleanerSettings, ReplacedSegment, SegmentInfo
from broker.protocol.raw_records import placeholder_batch
from broker.storage.cleaned_segment import CleanedFacts, CleanedSegment, add_to_digest
from broker.storage.filesystem import FileSystem
from broker.storage.segment import (
    RELATIVE_OFFSET_MAX,
    SEGMENT_BYTES_MAX,
    TRANSACTION_INDEX_SUFFIX,
    segment_path,
)
from broker.storage.transaction_index import AbortedTransaction, decode_entries, encode_entries
from broker.types import Buffer

IO_BUFFER_BYTES_MIN = 64 * 1024
GROWTH_BYTES_PER_RECORD = 6
"""What a delete horizon may add to a record: its timestamp then counts from far away."""
TIME_ENTRY_BYTES = 12
GROUP_SEGMENTS_MAX = 64
"""A swap renames the files of all of them in one turn of the broker's loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanedGroup:
    """A cleaned file that waits to take the place of ``replaced``."""

    base_offset: int
    token: str
    facts: CleanedFacts
    replaced: tuple[ReplacedSegment, ...]


Swap = Callable[[CleanedGroup], None]
"""Hand the file over. Raises when the broker refuses; the file is then removed here."""


@dataclass(slots=True, kw_only=True)
class PassResult:
    """What was done; true also when the pass ended early."""

    first_dirty_offset: int
    is_complete: bool = False
    """False: the key map was full, or the pass was ended; the next one goes on from ``first_dirty_offset``."""
    bytes_before: int = 0
    bytes_after: int = 0
    counts: CleaningCounts = field(default_factory=CleaningCounts)


class PartitionPass:
    def __init__(
        self,
        filesystem: FileSystem,
        planned: PlannedCompaction,
        producers: Mapping[int, ProducerTail],
        settings: CleanerSettings,
        *,
        now_ms: int,
        new_token: Callable[[], str],
        moved: Moved,
    ) -> None:
        self._filesystem = filesystem
        self._planned = planned
        self._partition = planned.partition
        self._producers = producers
        self._settings = settings
        self._now_ms = now_ms
        self._new_token = new_token
        self._moved = moved
        self._aborted: dict[int, AbortedTransaction] = {}
        """By the offset of the marker, as the first look over the log has found them."""
        self._buffer_bytes = max(IO_BUFFER_BYTES_MIN, settings.io_buffer_bytes // max(1, settings.threads))
        self._reader = SegmentReader(filesystem, self._partition.directory, self._buffer_bytes, moved)
        self.result = PassResult(first_dirty_offset=planned.first_dirty_offset)

    def run(self, swap: Swap) -> PassResult:
        """Raises whatever ``swap`` and ``moved`` raise, and ``DamageFound``, ``KafkaError`` or ``OSError``."""
        segments = [s for s in self._partition.segments if s.end_offset <= self._planned.end_offset]
        surveyed = self._survey(segments)
        self._aborted = {
            one.last_offset: AbortedTransaction(one.producer_id, one.first_offset, one.last_offset, one.first_offset)
            for one in surveyed.aborted
        }
        cleaner = self._cleaner(surveyed)
        group: _Group | None = None
        try:
            for segment in segments:
                if segment.base_offset >= surveyed.end_offset:
                    break
                if group is not None and not self._fits(group, segment):
                    self._finish(group, swap)
                    group = None
                if group is None:
                    group = self._begin(segment)
                self._clean(group, segment, cleaner)
            if group is not None:
                self._finish(group, swap)
        except BaseException:
            if group is not None:
                group.cleaned.discard()
            raise
        self.result.first_dirty_offset = max(self.result.first_dirty_offset, surveyed.end_offset)
        self.result.is_complete = surveyed.is_complete
        return self.result

    def _survey(self, segments: list[SegmentInfo]) -> Surveyed:
        settings = self._settings
        first_dirty, end = self._planned.first_dirty_offset, self._planned.end_offset
        offsets = OffsetMap(
            settings.dedupe_buffer_bytes // max(1, settings.threads),
            load_factor=min(1.0, max(0.1, settings.load_factor)),
            keys_max=end - first_dirty,
        )
        return survey(self._reader, segments, offsets, first_dirty, end)

    def _cleaner(self, surveyed: Surveyed) -> BatchCleaner:
        return BatchCleaner(
            surveyed.offsets,
            TransactionFilter(surveyed.aborted),
            end_offset=surveyed.end_offset,
            now_ms=self._now_ms,
            delete_retention_ms=self._partition.delete_retention_ms,
            producers=self._producers,
            counts=self.result.counts,
        )

    # Groups ----------------------------------------------------------------------------------------

    def _begin(self, segment: SegmentInfo) -> _Group:
        token = self._new_token()
        return _Group(
            token,
            CleanedSegment(
                self._filesystem,
                self._partition.directory,
                segment.base_offset,
                token,
                index_interval_bytes=self._partition.index_interval_bytes,
                buffer_bytes=self._buffer_bytes,
            ),
        )

    def _fits(self, group: _Group, segment: SegmentInfo) -> bool:
        """Whether the next segment may be cleaned into the same file, even if nothing of it goes."""
        size = segment.size_bytes
        if segment.end_offset > self._planned.first_dirty_offset:
            size += GROWTH_BYTES_PER_RECORD * (segment.end_offset - segment.base_offset)
        entries = 1 + size // max(1, self._partition.index_interval_bytes)
        return (
            len(group.replaced) < GROUP_SEGMENTS_MAX
            and group.cleaned.size + size <= min(self._partition.segment_bytes, SEGMENT_BYTES_MAX)
            and group.cleaned.index_bytes + entries * TIME_ENTRY_BYTES <= self._partition.segment_index_bytes
            and segment.end_offset - group.cleaned.base_offset <= RELATIVE_OFFSET_MAX
        )

    def _clean(self, group: _Group, segment: SegmentInfo, cleaner: BatchCleaner) -> None:
        for header, whole, marker in self._reader.batches(segment):
            kept = cleaner.clean(header, whole, marker)
            if header.next_offset == self._planned.end_offset and not _has_records(kept):
                # Behind it there may be nothing yet, and a log must not end with what readers are not shown.
                kept = whole
            group.met(header)
            if kept:
                group.cleaned.append(kept)
                self._moved(len(kept))
                if marker is Marker.ABORT and _has_records(kept):
                    group.abort_markers.add(header.last_offset)
        group.replaced.append(ReplacedSegment(segment.base_offset, segment.end_offset, segment.size_bytes))

    def _finish(self, group: _Group, swap: Swap) -> None:
        cleaned, last = group.cleaned, group.last
        if last is not None and cleaned.end_offset < last.next_offset:
            cleaned.append(placeholder_batch(last))
        bytes_before = sum(segment.size_bytes for segment in group.replaced)
        if len(group.replaced) == 1 and (cleaned.size, cleaned.digest) == (bytes_before, group.digest):
            cleaned.discard()
        else:
            facts = cleaned.finish(self._transaction_index(group))
            swap(
                CleanedGroup(
                    base_offset=cleaned.base_offset,
                    token=group.token,
                    facts=facts,
                    replaced=tuple(group.replaced),
                )
            )
        result = self.result
        result.bytes_before += bytes_before
        result.bytes_after += cleaned.size

    def _transaction_index(self, group: _Group) -> bytes:
        """The entries of aborted transactions whose markers stay; one that the old index lacks is made anew."""
        known = dict(self._aborted)
        for segment in group.replaced:
            path = segment_path(self._partition.directory, segment.base_offset, TRANSACTION_INDEX_SUFFIX)
            content = self._filesystem.read_file(path) or b""
            with contextlib.suppress(ValueError):
                known |= {entry.last_offset: entry for entry in decode_entries(content, segment.base_offset)}
        return encode_entries(known[marker] for marker in sorted(group.abort_markers) if marker in known)


def _has_records(kept: Buffer) -> bool:
    return bool(kept) and read_header(kept).record_count > 0


class _Group:
    """Segments that become one."""

    __slots__ = ("abort_markers", "cleaned", "digest", "last", "replaced", "token")

    def __init__(self, token: str, cleaned: CleanedSegment) -> None:
        self.token = token
        self.cleaned = cleaned
        self.replaced: list[ReplacedSegment] = []
        self.abort_markers: set[int] = set()
        self.last: BatchHeader | None = None
        """The last batch that was read, kept or not."""
        self.digest = 0
        """Over what was read, as the file has one over what was written."""

    def met(self, header: BatchHeader) -> None:
        self.last = header
        self.digest = add_to_digest(self.digest, header)
