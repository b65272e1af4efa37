"""Which batches compaction may drop because of how their transaction ended. Pure; Kafka's rules.

Owns two things. ``TransactionSurvey`` walks the headers of a log once, oldest first, and learns from the markers which
transactions were aborted and which are still open. ``TransactionFilter`` walks the same batches again and answers for
each: can its records go?

    data of an aborted transaction        goes
    data of any other                     is judged by its keys, like data outside transactions
    an abort marker                       may go once nothing of its transaction is left in the log
    a commit marker                       likewise
    other control batches                 stay

A marker that may go still waits for its delete horizon, so that a reader who has the data meets the marker too.
The markers in the log are the truth here, not the index of aborted transactions, which is only their shortcut.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from broker.protocol.batch import BatchHeader


class Marker(Enum):
    ABORT = 0
    COMMIT = 1


class AbortedTransaction(NamedTuple):
    first_offset: int
    last_offset: int
    """The marker's."""
    producer_id: int


@dataclass(slots=True)
class TransactionSurvey:
    aborted: list[AbortedTransaction]
    _open: dict[int, int]

    def __init__(self) -> None:
        self.aborted = []
        self._open = {}

    def batch(self, header: BatchHeader, marker: Marker | None) -> None:
        """Each batch in the order of the log; ``marker`` is what a control batch says about a transaction."""
        if header.is_control:
            if marker is not None:
                start = self._open.pop(header.producer_id, None)
                if marker is Marker.ABORT and start is not None:
                    self.aborted.append(AbortedTransaction(start, header.last_offset, header.producer_id))
        elif header.is_transactional and header.record_count:
            self._open.setdefault(header.producer_id, header.base_offset)

    def first_undecided(self) -> int | None:
        """Where the oldest transaction starts whose end was not met."""
        return min(self._open.values(), default=None)


class TransactionFilter:
    """Asked about every batch in the order of the log, once."""

    __slots__ = ("_aborted", "_committed", "_next", "_ongoing")

    def __init__(self, aborted: Iterable[AbortedTransaction]) -> None:
        self._aborted = sorted(aborted)
        self._next = 0
        self._ongoing: dict[int, bool] = {}
        """Producer of an aborted transaction that has begun → whether data of it was met."""
        self._committed: set[int] = set()
        """Producers of whose open transaction data was met that is going to be committed."""

    def may_drop(self, header: BatchHeader, marker: Marker | None) -> bool:
        self._begin_up_to(header.last_offset)
        producer_id = header.producer_id
        if header.is_control:
            if header.record_count == 0:
                return True
            if marker is Marker.ABORT:
                return not self._ongoing.pop(producer_id, False)
            if marker is Marker.COMMIT:
                was_met = producer_id in self._committed
                self._committed.discard(producer_id)
                return not was_met
            return False
        if not header.is_transactional or not header.record_count:
            return False
        if producer_id in self._ongoing:
            self._ongoing[producer_id] = True
            return True
        self._committed.add(producer_id)
        return False

    def _begin_up_to(self, offset: int) -> None:
        while self._next < len(self._aborted) and self._aborted[self._next].first_offset <= offset:
            self._ongoing.setdefault(self._aborted[self._next].producer_id, False)
            self._next += 1
