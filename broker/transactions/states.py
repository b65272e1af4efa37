"""The states of a transactional id and the way between them: Kafka's names, numbers and table.

The number is a disk format (``TransactionStatus`` in ``__transaction_state``), the name a wire format (DescribeTransactions).

| state | what it means | reached from | what a producer of the current epoch gets |
|---|---|---|---|
| Empty | an id and an epoch, no transaction | Empty, CompleteCommit, CompleteAbort | may add partitions; an abort is accepted under version 2 |
| Ongoing | partitions are in a transaction | Empty, Ongoing, CompleteCommit, CompleteAbort | may add partitions, end it |
| PrepareCommit | the decision is on disk, markers are under way | Ongoing | CONCURRENT_TRANSACTIONS |
| PrepareAbort | the same for an abort | Ongoing, Empty, CompleteCommit, CompleteAbort | CONCURRENT_TRANSACTIONS |
| CompleteCommit | every partition has its marker | PrepareCommit | as Empty |
| CompleteAbort | the same for an abort | PrepareAbort | as Empty |
| Dead | the id has expired; written as a tombstone, never as a state | Empty, CompleteCommit, CompleteAbort | INVALID_PRODUCER_ID_MAPPING |
| PrepareEpochFence | Kafka's name for an abort that raises the epoch before it is written | Ongoing | never seen |

Here fencing is one step: the record of PrepareAbort carries the raised epoch, so PrepareEpochFence exists only as a
number that a log may contain. PrepareAbort from a state without a transaction is version 2's answer to a producer that
aborts without knowing whether anything was added (KIP-890): it costs an epoch and leaves no doubt.
"""

from __future__ import annotations

from enum import IntEnum

PRODUCER_EPOCH_MAX = 2**15 - 1
EPOCH_EXHAUSTED_FROM = PRODUCER_EPOCH_MAX - 1
"""No producer is given an epoch above this: one more must be left to fence it."""


class TransactionState(IntEnum):
    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def wire_name(self) -> str:
        return _WIRE_NAMES[self]

    @property
    def is_prepared(self) -> bool:
        """Decided, and not every marker is known to be written."""
        return self in (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)

    @property
    def is_open(self) -> bool:
        """Something may be waiting in partitions for the end of this transaction."""
        return self is TransactionState.ONGOING or self.is_prepared


_WIRE_NAMES = {state: "".join(part.capitalize() for part in state.name.split("_")) for state in TransactionState}

_AT_REST = frozenset({TransactionState.EMPTY, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT})

REACHED_FROM: dict[TransactionState, frozenset[TransactionState]] = {
    TransactionState.EMPTY: _AT_REST,
    TransactionState.ONGOING: _AT_REST | {TransactionState.ONGOING},
    TransactionState.PREPARE_COMMIT: frozenset({TransactionState.ONGOING}),
    TransactionState.PREPARE_ABORT: _AT_REST | {TransactionState.ONGOING},
    TransactionState.COMPLETE_COMMIT: frozenset({TransactionState.PREPARE_COMMIT}),
    TransactionState.COMPLETE_ABORT: frozenset({TransactionState.PREPARE_ABORT}),
    TransactionState.DEAD: _AT_REST,
    TransactionState.PREPARE_EPOCH_FENCE: frozenset({TransactionState.ONGOING}),
}
"""The table above, checked by every transition."""


def state_of_name(name: str) -> TransactionState | None:
    """The state ListTransactions filters by; ``None`` for a name no state has."""
    return next((state for state in TransactionState if state.wire_name == name), None)
