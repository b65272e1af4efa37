"""The transaction indexes beside a log, held against the markers while the log is read once.

Owns: what each ``.txnindex`` should say, learnt from the batches in their order, and the comparison at the end of each
segment. What was deleted before the log's first batch cannot be checked and is believed. Compaction takes data, markers
and entries away, so of a compacted log only the other direction holds: what an entry names is an abort marker.
"""

from __future__ import annotations

from broker.commandline.findings import Findings
from broker.protocol.batch import BatchHeader
from broker.protocol.markers import EndTransactionMarker
from broker.storage.open_transactions import OpenTransactions
from broker.storage.transaction_index import AbortedTransaction, decode_entries


class TransactionIndexCheck:
    def __init__(self, findings: Findings, log_start: int, *, gaps_allowed: bool, unfinished_allowed: bool) -> None:
        """``unfinished_allowed``: the newest index may lack what was written to the log last."""
        self._findings = findings
        self._log_start = log_start
        self._gaps_allowed = gaps_allowed
        self._unfinished_allowed = unfinished_allowed
        self._transactions = OpenTransactions()
        self._starts: dict[int, int] = {}
        self._path = ""
        self._content: bytes | None = None
        self._base_offset = 0
        self._aborted: list[AbortedTransaction] = []
        self._markers: dict[int, int] = {}
        """Offset → producer of every abort marker of the segment."""

    def begin(self, path: str, content: bytes | None, base_offset: int) -> None:
        """The next segment; ``content`` of its index was read before the log was."""
        self._path, self._content, self._base_offset = path, content, base_offset
        self._aborted, self._markers = [], {}

    def batch(self, header: BatchHeader, marker: EndTransactionMarker | None) -> None:
        if not header.is_control:
            if header.is_transactional and header.record_count and header.producer_id not in self._starts:
                self._starts[header.producer_id] = header.base_offset
                self._transactions.begin(header.base_offset, header.producer_id)
            return
        if marker is None:
            return
        offset = header.base_offset
        if not marker.commit:
            self._markers[offset] = header.producer_id
        start = self._starts.pop(header.producer_id, None)
        if start is not None:
            ended = self._transactions.end(start, offset, aborted=not marker.commit)
            if ended.aborted:
                self._aborted.append(AbortedTransaction(ended.producer_id, start, offset, ended.last_stable_offset))

    def finish(self, *, whole: bool, newest: bool) -> None:
        if not whole:
            return
        if self._content is None:
            if self._aborted and not self._gaps_allowed:
                self._findings.warning(self._path, "missing; it is made anew from the log when it is needed")
            return
        try:
            entries = decode_entries(self._content, self._base_offset)
        except ValueError as error:
            self._findings.damage(self._path, f"cannot be read: {error}")
            return
        told = {entry.last_offset: entry for entry in entries}
        for entry in entries:
            if self._markers.get(entry.last_offset) != entry.producer_id:
                what = f"says producer {entry.producer_id} aborted at offset {entry.last_offset}; no marker there does"
                self._findings.damage(self._path, what, offset=entry.last_offset)
        if not self._gaps_allowed:
            for expected in self._aborted:
                self._compare(expected, told.get(expected.last_offset), newest)

    def _compare(self, expected: AbortedTransaction, told: AbortedTransaction | None, newest: bool) -> None:
        if told is None:
            if not (newest and self._unfinished_allowed):
                what = f"does not have the transaction that producer {expected.producer_id} aborted at this offset"
                self._findings.damage(self._path, what, offset=expected.last_offset)
        elif told.first_offset != expected.first_offset and told.first_offset >= self._log_start:
            what = f"says the aborted transaction begins at {told.first_offset}; it begins at {expected.first_offset}"
            self._findings.damage(self._path, what, offset=expected.last_offset)
        elif told.last_stable_offset != expected.last_stable_offset and told.last_stable_offset >= self._log_start:
            what = (
                f"says everything below {told.last_stable_offset} was decided then; it was what is below "
                f"{expected.last_stable_offset}"
            )
            self._findings.damage(self._path, what, offset=expected.last_offset)
