"""Which transactions of one partition are open, and from where on a reader of committed data has to wait.

Owns: the order of transactions by their first offset. ``ProducerState`` tells of every begin and end; the partition asks
for the first unstable offset on each read, so that answer must cost nothing, however many transactions there are.

A transaction is *open* until its marker is written, and still *unstable* until its marker is below the high watermark:
a marker that is not replicated may be lost with its leader, and what was shown as committed would be open again.

What must stay true:
    open transactions are in the order of their first offsets (offsets only grow, a snapshot is sorted)
    of those completed above the high watermark, only the ones are kept that may be the smallest: first and last
    offsets both ascend
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from broker.types import Offset, ProducerId


class EndedTransaction(NamedTuple):
    """A transaction with its marker written at ``last_offset``."""

    producer_id: ProducerId
    first_offset: Offset
    last_offset: Offset
    last_stable_offset: Offset
    """Everything below is decided once this marker is: the next open transaction's start, or what follows the marker."""
    aborted: bool


class OpenTransactions:
    __slots__ = ("_completed", "_first_open", "_open")

    def __init__(self) -> None:
        self._first_open: Offset | None = None
        self._open: dict[Offset, ProducerId] = {}
        """First offset → producer, ascending."""
        self._completed: deque[tuple[Offset, Offset]] = deque()
        """(first offset, marker's offset) of completed transactions that may still be above the high watermark."""

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, first_offset: Offset, producer_id: ProducerId) -> None:
        self._open[first_offset] = producer_id
        if self._first_open is None:
            self._first_open = first_offset

    def end(self, first_offset: Offset, marker_offset: Offset, *, aborted: bool) -> EndedTransaction:
        producer_id = self._open.pop(first_offset)
        completed = self._completed
        while completed and completed[-1][0] >= first_offset:
            completed.pop()
        completed.append((first_offset, marker_offset))
        if first_offset == self._first_open:
            self._first_open = next(iter(self._open), None)
        stable = marker_offset + 1 if self._first_open is None else self._first_open
        return EndedTransaction(producer_id, first_offset, marker_offset, stable, aborted)

    def restore(self, starts: Iterable[tuple[Offset, ProducerId]]) -> None:
        """What a snapshot held, in any order."""
        self._open = dict(sorted(starts))
        self._first_open = next(iter(self._open), None)
        self._completed.clear()

    def recall_completed(self, replayed: OpenTransactions, high_watermark: Offset, upto_offset: Offset) -> None:
        """What a snapshot at ``upto_offset`` cannot say: which transactions ended before it, but not below the watermark."""
        self._completed.extend(
            (first, marker) for first, marker in replayed._completed if high_watermark <= marker < upto_offset
        )

    def first_undecided(self) -> Offset | None:
        """Where the oldest transaction without a marker starts."""
        return self._first_open

    def first_unstable(self, high_watermark: Offset) -> Offset | None:
        """Where the oldest transaction starts that is open, or completed at or above ``high_watermark``."""
        completed = self._completed
        while completed and completed[0][1] < high_watermark:
            completed.popleft()
        first = self._first_open
        if not completed or (first is not None and first < completed[0][0]):
            return first
        return completed[0][0]
