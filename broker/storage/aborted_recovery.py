"""Transaction indexes at start-up: which of those on disk can be trusted, and making the others anew.

Used by ``recovery.py`` around its replay of producers, once it is settled what the log is. A segment that was scanned
gets the index that the replay yields, whatever lay beside it. A trusted one keeps its file if that has the size the
checkpoint says; its content is checked when it is first read. After a crash a file, and the checkpoint with it, may also be from before
the log was cut: it tells of markers where the segment has ended, and is made anew.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence

from broker.storage.aborted_transactions import (
    ABORTED_FILE,
    NO_ABORTS,
    decode_fingerprints,
    fingerprints_of,
)
from broker.storage.filesystem import FileSystem
from broker.storage.open_transactions import EndedTransaction
from broker.storage.producer_replay import rebuild_aborted
from broker.storage.producer_snapshot import ProducerSnapshots
from broker.storage.segment import Segment
from broker.storage.sparse_index import IndexDamaged
from broker.storage.transaction_index import ENTRY, NOTHING, Fingerprint, TransactionIndex
from broker.types import Offset, TimestampMs


class AbortedRecovery:
    def __init__(
        self,
        filesystem: FileSystem,
        directory: str,
        segments: Sequence[Segment],
        scanned: Iterable[Segment],
        with_file: set[Offset],
        *,
        clean: bool,
    ) -> None:
        """``clean``: whoever wrote the log stopped in order, with everything synced."""
        self._filesystem = filesystem
        self._directory = directory
        self._segments = segments
        self._scanned = {segment.base_offset for segment in scanned}
        self._doubtful: list[Segment] = []
        """Trusted segments whose index is not what it should be."""
        self.notes: list[str] = []
        content = filesystem.read_file(os.path.join(directory, ABORTED_FILE))
        self._saved = content
        known: dict[Offset, Fingerprint] | None = None
        readable = True
        if content is not None:
            try:
                known = decode_fingerprints(content)
            except ValueError as error:
                readable = False
                self.notes.append(f"rebuilt {ABORTED_FILE}: {error}")
        ends = [*(segment.base_offset for segment in segments[1:]), segments[-1].next_offset] if segments else []
        for segment, end in zip(segments, ends, strict=True):
            has_file = segment.base_offset in with_file
            if segment.base_offset in self._scanned:
                if has_file:
                    filesystem.unlink(segment.transaction_index_path)
            elif not readable:
                segment.begin_aborted(None)
                self._doubtful.append(segment)
            else:
                self._trust(segment, known, has_file)
                if not clean and segment.aborted is not None and _tells_of_more(segment.aborted, end):
                    self._doubtful.append(segment)

    def _trust(self, segment: Segment, known: dict[Offset, Fingerprint] | None, has_file: bool) -> None:
        if known is None:
            if has_file:
                segment.begin_aborted(None)
            return
        expected = known.get(segment.base_offset, NOTHING)
        if expected == NOTHING and not has_file:
            return
        index = segment.begin_aborted(None if expected == NOTHING else expected)
        status = self._filesystem.status(index.path)
        if (status.size if status else 0) != expected.entry_count * ENTRY.size:
            self._doubtful.append(segment)

    def note(self, segment: Segment, ended: EndedTransaction) -> None:
        """The replay met the end of a transaction."""
        if ended.aborted and segment.base_offset in self._scanned:
            index = segment.aborted
            if index is None:
                index = segment.begin_aborted(NOTHING)
            index.add(ended, write=False)

    def finish(self, snapshots: ProducerSnapshots, log_start: Offset, now_ms: TimestampMs) -> bytes:
        """Rebuild what is doubtful and write what is new; the checkpoint as it is on disk then, durably. Raises
        ``DamageFound`` and ``OSError``."""
        for segment in dict.fromkeys(self._doubtful):
            rebuild_aborted(self._segments, segment, snapshots, log_start, now_ms)
            assert segment.aborted is not None
            self.notes.append(f"rebuilt {os.path.basename(segment.aborted.path)}")
        for segment in self._segments:
            if segment.aborted is not None:
                with contextlib.suppress(OSError):  # it is in memory and will be written with the next flush
                    segment.aborted.flush()
        saved = NO_ABORTS if self._saved is None else self._saved
        nothing_written_down = self._saved is None and any(segment.aborted is not None for segment in self._segments)
        if not (self._scanned or self._doubtful or nothing_written_down):
            return saved
        content = self._checkpoint(snapshots, log_start, now_ms)
        if content != saved:
            self._filesystem.replace_file(os.path.join(self._directory, ABORTED_FILE), content)
        return content

    def _checkpoint(self, snapshots: ProducerSnapshots, log_start: Offset, now_ms: TimestampMs) -> bytes:
        for segment in self._segments:
            if segment.aborted is not None:
                try:
                    segment.aborted.fingerprint()
                except IndexDamaged:
                    rebuild_aborted(self._segments, segment, snapshots, log_start, now_ms)
        return fingerprints_of(self._segments)


def _tells_of_more(index: TransactionIndex, end: Offset) -> bool:
    try:
        entries = index.entries()
    except IndexDamaged:
        return True
    return bool(entries) and entries[-1].last_offset >= end
