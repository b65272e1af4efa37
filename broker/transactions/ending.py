"""What an EndTxn means in each state: go on and end it, it is done already, wait, or no. Pure.

Owns: the two tables, of Kafka's first protocol and of version 2 (KIP-890), and who is fenced.

Version 0, the epoch must be the producer's:

| state | commit | abort |
|---|---|---|
| Ongoing | end | end |
| PrepareCommit, PrepareAbort | the same decision: wait; the other one: INVALID_TXN_STATE | |
| CompleteCommit, CompleteAbort | the same decision: done; the other one: INVALID_TXN_STATE | |
| Empty | INVALID_TXN_STATE | INVALID_TXN_STATE |

Version 2 raises the epoch with every end, so the epoch tells a *retry* (the epoch before the raise, or the id before the
epochs ran out) from the *next* call, which no state could:

| state | commit retried | abort retried | commit next | abort next |
|---|---|---|---|---|
| Ongoing | fenced | fenced | end | end |
| PrepareCommit | wait | INVALID_TXN_STATE | fenced | fenced |
| PrepareAbort | INVALID_TXN_STATE | wait | fenced | fenced |
| CompleteCommit | done | INVALID_TXN_STATE | INVALID_TXN_STATE | end |
| CompleteAbort | INVALID_TXN_STATE | done | INVALID_TXN_STATE | end |
| Empty | fenced | fenced | INVALID_TXN_STATE | end |

"End" of a transaction without partitions costs an epoch and sends no marker.
"""

from __future__ import annotations

from enum import Enum, auto

from broker.errors import ErrorCode, KafkaError
from broker.transactions.events import EndTransaction
from broker.transactions.metadata import VERSION_2, Transaction
from broker.transactions.states import EPOCH_EXHAUSTED_FROM, TransactionState


class Verdict(Enum):
    END = auto()
    DONE = auto()
    WAIT = auto()


def judge(transaction: Transaction | None, event: EndTransaction) -> Verdict:
    """Raises ``KafkaError``: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, INVALID_TXN_STATE."""
    if transaction is None:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if event.client_version >= VERSION_2:
        return _judge_version_2(transaction, event)
    return _judge_version_0(transaction, event)


def _judge_version_0(transaction: Transaction, event: EndTransaction) -> Verdict:
    if event.producer_id != transaction.producer_id:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if event.producer_epoch != transaction.producer_epoch:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if transaction.state is TransactionState.ONGOING:
        return Verdict.END
    return _same_decision(transaction.state, event.commit)


def _judge_version_2(transaction: Transaction, event: EndTransaction) -> Verdict:
    state = transaction.state
    rotated = _asks_with_the_previous_id(transaction, event)
    if event.producer_id != transaction.producer_id and not rotated:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    retried = rotated or event.producer_epoch + 1 == transaction.producer_epoch
    current = not rotated and event.producer_epoch == transaction.producer_epoch
    if retried and state not in (TransactionState.ONGOING, TransactionState.EMPTY):
        return _same_decision(state, event.commit)
    if not current or state.is_prepared:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if state is TransactionState.ONGOING or not event.commit:
        return Verdict.END
    raise KafkaError(ErrorCode.INVALID_TXN_STATE)


def _asks_with_the_previous_id(transaction: Transaction, event: EndTransaction) -> bool:
    """The end that used up the last epoch of an id, asked for again after the next id took over."""
    return (
        transaction.state in (TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT)
        and event.producer_id == transaction.previous_producer_id != transaction.producer_id
        and event.producer_epoch == EPOCH_EXHAUSTED_FROM
        and transaction.producer_epoch == 0
    )


_DECIDED = {
    (TransactionState.PREPARE_COMMIT, True): Verdict.WAIT,
    (TransactionState.PREPARE_ABORT, False): Verdict.WAIT,
    (TransactionState.COMPLETE_COMMIT, True): Verdict.DONE,
    (TransactionState.COMPLETE_ABORT, False): Verdict.DONE,
}


def _same_decision(state: TransactionState, commit: bool) -> Verdict:
    verdict = _DECIDED.get((state, commit))
    if verdict is None:
        raise KafkaError(ErrorCode.INVALID_TXN_STATE)
    return verdict
