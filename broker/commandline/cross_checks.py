"""The shortcuts beside a log, held against it while it is read once.

Owns: one check per kind of file. Each takes the batches in the order of the log (``batch``) and has its say at the end
of a segment or of the log (``finish``). None keeps more than its own file in memory.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from broker.commandline.findings import Findings
from broker.protocol.batch import BatchHeader
from broker.storage.producer_state import ProducerEntry
from broker.types import NO_EPOCH, NO_TIMESTAMP

_INDEX_ENTRY = struct.Struct(">ii")
_TIME_ENTRY = struct.Struct(">qi")


class OffsetIndexCheck:
    """Each entry names the position of a batch and that batch's last offset, both growing."""

    def __init__(self, path: str, content: bytes, base_offset: int, findings: Findings) -> None:
        self._path = path
        self._findings = findings
        pairs = _read(path, content, _INDEX_ENTRY, findings)
        self._entries = [(base_offset + delta, position) for delta, position in pairs]
        for before, after in zip(self._entries, self._entries[1:], strict=False):
            if before[0] >= after[0] or before[1] >= after[1]:
                findings.damage(path, f"entry {after} does not follow {before}", offset=after[0])
                self._entries = []
                break
        self._next = 0

    def batch(self, position: int, header: BatchHeader) -> None:
        while self._next < len(self._entries) and self._entries[self._next][1] <= position:
            offset, where = self._entries[self._next]
            self._next += 1
            if where < position:
                self._findings.damage(self._path, f"points at byte {where}, where no batch starts", offset=offset)
            elif offset != header.last_offset:
                what = f"says the batch at byte {where} ends with offset {offset}; it ends with {header.last_offset}"
                self._findings.damage(self._path, what, offset=offset)

    def finish(self, *, whole: bool) -> None:
        """``whole``: the segment was read to its end; otherwise nobody knows what the rest points at."""
        if whole and self._next < len(self._entries):
            offset, where = self._entries[self._next]
            self._findings.damage(self._path, f"points at byte {where}, behind the end of the log", offset=offset)


class TimeIndexCheck:
    """Each entry names an offset and the largest timestamp up to the batch that holds it, both growing."""

    def __init__(self, path: str, content: bytes, base_offset: int, findings: Findings) -> None:
        self._path = path
        self._findings = findings
        pairs = _read(path, content, _TIME_ENTRY, findings)
        self._entries = [(timestamp, base_offset + delta) for timestamp, delta in pairs]
        for before, after in zip(self._entries, self._entries[1:], strict=False):
            if before[0] >= after[0] or before[1] > after[1]:
                findings.damage(path, f"entry {after} does not follow {before}", offset=after[1])
                self._entries = []
                break
        self._next = 0
        self._largest = NO_TIMESTAMP

    def batch(self, header: BatchHeader) -> None:
        self._largest = max(self._largest, header.max_timestamp)
        while self._next < len(self._entries) and self._entries[self._next][1] <= header.last_offset:
            timestamp, offset = self._entries[self._next]
            self._next += 1
            if timestamp != self._largest:
                what = f"says the largest timestamp up to offset {offset} is {timestamp}; it is {self._largest}"
                self._findings.damage(self._path, what, offset=offset)

    def finish(self, *, whole: bool) -> None:
        if whole and self._next < len(self._entries):
            self._findings.damage(
                self._path, "an entry points behind the end of the log", offset=self._entries[self._next][1]
            )


class EpochCheck:
    """Epochs never go back in the log, and the checkpoint names the one that wrote each batch."""

    def __init__(
        self, path: str, entries: Iterable[tuple[int, int]] | None, findings: Findings, *, log_start: int
    ) -> None:
        """``entries`` of the checkpoint; ``None`` if there is none to compare with. Below ``log_start`` it has forgotten
        what records were given up there, although their segment may still be on disk."""
        self._path = path
        self._log_start = log_start
        self._findings = findings
        self._entries = None if entries is None else list(entries)
        self._index = -1
        self._latest = -1
        self._complained: set[int] = set()

    def batch(self, path: str, position: int, header: BatchHeader, *, newest_segment: bool) -> None:
        epoch = header.leader_epoch
        if epoch == NO_EPOCH:
            return
        if epoch < 0:
            self._findings.damage(path, f"the leader epoch is {epoch}", position=position, offset=header.base_offset)
            return
        if epoch < self._latest:
            what = f"leader epoch {epoch} follows {self._latest}"
            self._findings.damage(path, what, position=position, offset=header.base_offset)
        self._latest = max(self._latest, epoch)
        if self._entries is None or header.last_offset < self._log_start:
            return
        while self._index + 1 < len(self._entries) and self._entries[self._index + 1][1] <= max(
            header.base_offset, self._log_start
        ):
            self._index += 1
        told = self._entries[self._index][0] if self._index >= 0 else -1
        # The epochs of the newest segment reach the file with its next flush or roll.
        if told == epoch or (newest_segment and told < epoch) or epoch in self._complained:
            return
        self._complained.add(epoch)
        what = f"says epoch {told} wrote offset {header.base_offset}; the batch says {epoch}"
        self._findings.damage(self._path, what, offset=header.base_offset)

    def finish(self, log_end: int) -> None:
        behind = [entry for entry in self._entries or () if entry[1] > log_end]
        if behind:
            epoch, start = behind[0]
            self._findings.warning(
                self._path, f"epoch {epoch} starts at {start}, behind the end of the log", offset=start
            )


class SnapshotCheck:
    """A producer's last batch in a snapshot is in the log, by that producer and with that sequence."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._wanted: dict[int, list[tuple[str, ProducerEntry]]] = {}

    def add(self, path: str, snapshot_offset: int, entries: Iterable[ProducerEntry]) -> None:
        for entry in entries:
            if not entry.batches:
                continue
            last = entry.batches[-1]
            if last.last_offset >= snapshot_offset:
                what = f"the last batch of producer {entry.producer_id} lies behind the snapshot's own offset"
                self._findings.damage(path, what, offset=last.last_offset)
            else:
                self._wanted.setdefault(last.last_offset, []).append((path, entry))

    def batch(self, header: BatchHeader) -> None:
        for path, entry in self._wanted.pop(header.last_offset, ()):
            same = (entry.producer_id, entry.last_sequence) == (header.producer_id, header.last_sequence)
            if not same and not header.is_control:
                what = (
                    f"says producer {entry.producer_id} wrote sequence {entry.last_sequence} at offset "
                    f"{header.last_offset}; the batch there is {header.last_sequence} of {header.producer_id}"
                )
                self._findings.damage(path, what, offset=header.last_offset)

    def finish(self, first_offset: int, log_end: int, *, gaps_allowed: bool) -> None:
        """What was not met although it lies inside the log. Retention and compaction take batches away."""
        if gaps_allowed:
            return
        for offset, entries in self._wanted.items():
            if first_offset <= offset < log_end:
                for path, entry in entries:
                    what = f"no batch ends at offset {offset}, where producer {entry.producer_id} wrote last"
                    self._findings.damage(path, what, offset=offset)


def _read(path: str, content: bytes, entry: struct.Struct, findings: Findings) -> list[tuple[int, int]]:
    """Entries of an index. Kafka preallocates the newest one: the zeros behind its entries are none."""
    whole = len(content) - len(content) % entry.size
    if whole != len(content):
        findings.damage(path, f"{len(content)} bytes are no whole number of entries of {entry.size}", position=whole)
        return []
    pairs = list(entry.iter_unpack(content))
    used = len(pairs)
    while used and pairs[used - 1] == (0, 0):
        used -= 1
    if any(value < 0 for pair in pairs[:used] for value in pair):
        findings.damage(path, "an entry is negative")
        return []
    if pairs[used:]:
        findings.warning(path, f"{os.path.basename(path)} is preallocated: {used} entries, then zeros")
    return pairs[:used]
