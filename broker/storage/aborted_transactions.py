"""The aborted transactions of one log: which of them a reader of committed data has to know.

Owns: finding them over the ``.txnindex`` files of the segments, and ``aborted-transactions-checkpoint``, the file that
says what those files must contain:

    0                        version
    <count>
    <segment's base offset> <entries> <CRC-32C>

A ``.txnindex`` that is lost would show aborted records as committed, and Kafka's format cannot tell a file that was never
needed from one that is gone. The checkpoint can: it is written when a segment is closed and at a clean stop. Both
kinds of file become durable together with the markers they are about, so below the recovery point at least one of them
tells that there is something to be made anew. (Segments behind the recovery point are scanned, and get a new index.)
A log that has no checkpoint, because Kafka wrote it, is taken at its word.

What must stay true: a log without aborted transactions has none of this, in memory or on disk.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping

from broker.protocol.batch import scan_batches
from broker.storage.log_segments import LogSegments
from broker.storage.open_transactions import EndedTransaction
from broker.storage.segment import Segment
from broker.storage.sparse_index import IndexDamaged
from broker.storage.text_lines import decode_lines, encode_lines
from broker.storage.transaction_index import NOTHING, AbortedTransaction, Fingerprint, TransactionIndex
from broker.types import Buffer, Offset, ProducerId

ABORTED_FILE = "aborted-transactions-checkpoint"


def encode_fingerprints(fingerprints: Mapping[Offset, Fingerprint]) -> bytes:
    return encode_lines(f"{base} {count} {crc}" for base, (count, crc) in sorted(fingerprints.items()))


def decode_fingerprints(content: bytes) -> dict[Offset, Fingerprint]:
    """Raises ``ValueError`` for anything but a whole version 0 file."""
    found = {}
    for line in decode_lines(content):
        base, count, crc = map(int, line.split(" "))
        found[base] = Fingerprint(count, crc)
    return found


def fingerprints_of(segments: Iterable[Segment]) -> bytes:
    """The checkpoint of these segments. Raises ``IndexDamaged``."""
    known = {segment.base_offset: segment.aborted.fingerprint() for segment in segments if segment.aborted is not None}
    return encode_fingerprints({base: found for base, found in known.items() if found != NOTHING})


NO_ABORTS = encode_fingerprints({})


class AbortedTransactions:
    __slots__ = ("_bases", "_rebuild", "_segments", "saved")

    def __init__(self, segments: LogSegments, saved: bytes, rebuild: Callable[[Segment], None]) -> None:
        """``saved``: the checkpoint as it is on disk. ``rebuild`` makes a segment's index from the log; it raises
        ``DamageFound`` and ``OSError``, and so does whatever has to read an index here."""
        self._segments = segments
        self._rebuild = rebuild
        self.saved = saved
        self._bases: list[Offset] = []
        self.segments_changed()

    def segments_changed(self) -> None:
        """Segments came, went or were cut."""
        self._bases = [segment.base_offset for segment in self._segments.all() if segment.aborted is not None]

    def add(self, segment: Segment, ended: EndedTransaction) -> str:
        """A marker in ``segment``, the active one, aborted a transaction. The file that says so now."""
        index = segment.aborted
        if index is None:
            index = segment.begin_aborted(NOTHING)
            self._bases.append(segment.base_offset)
        try:
            index.add(ended)
        except (IndexDamaged, OSError) as problem:  # the marker is written: an index may not undo that
            index.give_up(str(problem))
        return index.path

    def overlapping(self, offset: Offset, records: Iterable[Buffer]) -> tuple[tuple[ProducerId, Offset], ...]:
        """(producer, first offset) of the aborted transactions that reach into ``records``, read from ``offset`` on, in
        the order of their first offsets."""
        bases = self._bases
        if not bases or bases[-1] < self._segments.containing(offset).base_offset:
            return ()
        upto_offset = _end_of(records)
        if upto_offset is None:
            return ()
        found: list[AbortedTransaction] = []
        first = bisect_left(bases, self._segments.containing(offset).base_offset)
        for base in bases[first:]:
            segment = self._segments.containing(base)
            if self._read(segment, lambda index: index.collect(offset, upto_offset, found)):
                break
        found.sort(key=lambda entry: entry.first_offset)
        return tuple((entry.producer_id, entry.first_offset) for entry in found)

    def checkpoint(self) -> bytes:
        """What the file should say."""
        for base in self._bases:
            self._read(self._segments.containing(base), TransactionIndex.fingerprint)
        return fingerprints_of(self._segments.all()) if self._bases else NO_ABORTS

    def _read(self, segment: Segment, look: Callable[[TransactionIndex], object]) -> object:
        index = segment.aborted
        assert index is not None
        try:
            return look(index)
        except IndexDamaged:
            self._rebuild(segment)
            return look(index)


def _end_of(records: Iterable[Buffer]) -> Offset | None:
    """Where the last whole batch ends."""
    end = None
    for piece in records:
        for _, header in scan_batches(piece):
            end = header.next_offset
    return end
