"""Which id and epoch InitProducerId gives. Pure.

| state | answer |
|---|---|
| unknown id | a new producer id with epoch 0 |
| Empty, CompleteCommit, CompleteAbort | the next epoch, or a new producer id when epochs are used up |
| Ongoing | the transaction is aborted and its producer fenced; once that is complete, the next epoch |
| PrepareCommit, PrepareAbort | after completion, the next epoch |

A producer that recovers (KIP-360) says which id and epoch it had. It is fenced unless they are the present ones, or were
the present ones before a bump whose answer it may have lost. Kafka lets it abort the ongoing transaction of the present
producer before it looks at the epoch; here a late or repeated request of an old epoch changes nothing.
"""

from __future__ import annotations

from typing import Literal

from broker.errors import ErrorCode, KafkaError
from broker.transactions import metadata
from broker.transactions.events import InitProducerId, Missing
from broker.transactions.metadata import Transaction
from broker.transactions.states import EPOCH_EXHAUSTED_FROM, TransactionState
from broker.types import NO_EPOCH


def decide_identity(
    transaction: Transaction | None, event: InitProducerId, now_ms: int
) -> Transaction | Literal[Missing.PRODUCER_ID] | None:
    """The next value: at rest (answer it), or prepared (write it, answer after completion). ``None``: only wait.

    Raises PRODUCER_FENCED. ``fresh_producer_id`` must be given when there is no transaction.
    """
    fresh = event.fresh_producer_id
    if transaction is None:
        assert fresh is not None
        transaction = metadata.created(fresh, event.timeout_ms, now_ms)
    if event.recovers and not _is_known(transaction, event):
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if transaction.state.is_prepared:
        return None
    expected = event.producer_epoch if event.recovers else None
    if transaction.state is TransactionState.ONGOING:
        if event.recovers and (event.producer_id, event.producer_epoch) != transaction.identity:
            raise KafkaError(ErrorCode.PRODUCER_FENCED)
        if transaction.epoch_exhausted and fresh is None:
            return Missing.PRODUCER_ID
        return metadata.fenced(transaction, fresh, now_ms)
    if transaction.epoch_exhausted and expected in (None, transaction.producer_epoch):
        if fresh is None:
            return Missing.PRODUCER_ID
        return metadata.with_next_producer_id(
            transaction, fresh, timeout_ms=event.timeout_ms, now_ms=now_ms, keep_last_epoch=event.recovers
        )
    return metadata.with_next_epoch(transaction, expected, event.timeout_ms, now_ms)


def _is_known(transaction: Transaction, event: InitProducerId) -> bool:
    """Whether the producer that recovers had this id. Its epoch is looked at when it is raised."""
    if transaction.producer_epoch == NO_EPOCH:
        return True  # all that was known has expired; a new id can be nobody else's
    if event.producer_id == transaction.producer_id:
        return True
    # The id whose last epoch led to the present one. Its producer may have lost the answer, nobody else asks with it.
    was = (transaction.previous_producer_id, transaction.last_producer_epoch)
    return event.producer_epoch >= EPOCH_EXHAUSTED_FROM and (event.producer_id, event.producer_epoch) == was
