"""What is known of one transactional id, and every way to the next such value. Pure.

Owns: ``Transaction``, an immutable value that is exactly what a record of ``__transaction_state`` says (except
``last_producer_epoch``, which Kafka does not store: a retry of InitProducerId that spans a change of coordinator is
fenced, there as here), and one function per transition. Each asserts Kafka's table (``states.py``).

Epochs under version 2 (KIP-890): every end raises the epoch, in the record that prepares it, so markers carry the raised
epoch and whatever of the old transaction is still on its way is refused by the partitions. When there is no epoch left,
the record names the next producer id; it takes over, with epoch 0, when the transaction is complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from broker.errors import ErrorCode, KafkaError
from broker.transactions.states import EPOCH_EXHAUSTED_FROM, REACHED_FROM, TransactionState
from broker.types import NO_EPOCH, NO_PRODUCER_ID, NO_TIMESTAMP, ProducerEpoch, ProducerId, TimestampMs, TopicPartition

VERSION_2 = 2
"""``transaction.version`` of a client that raises its epoch with every transaction; older ones are 0."""
NO_TIMEOUT_MS = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    producer_id: ProducerId
    producer_epoch: ProducerEpoch = NO_EPOCH
    """-1 only between the making of an id and its first record."""
    timeout_ms: int
    state: TransactionState = TransactionState.EMPTY
    partitions: frozenset[TopicPartition] = frozenset()
    start_ms: TimestampMs = NO_TIMESTAMP
    update_ms: TimestampMs
    last_producer_epoch: ProducerEpoch = NO_EPOCH
    """The epoch before the last bump, if its owner may still ask for it again. Not stored."""
    previous_producer_id: ProducerId = NO_PRODUCER_ID
    """Whose epochs ran out when the present id took over, or the present one."""
    next_producer_id: ProducerId = NO_PRODUCER_ID
    """Takes over when the prepared transaction is complete."""
    client_version: int = 0

    @property
    def epoch_exhausted(self) -> bool:
        return self.producer_epoch >= EPOCH_EXHAUSTED_FROM

    @property
    def identity(self) -> tuple[ProducerId, ProducerEpoch]:
        """What the producer shall use next. While prepared: what it will be once complete."""
        if self.next_producer_id != NO_PRODUCER_ID:
            return self.next_producer_id, 0
        return self.producer_id, self.producer_epoch

    @property
    def commits(self) -> bool:
        return self.state in (TransactionState.PREPARE_COMMIT, TransactionState.COMPLETE_COMMIT)

    def is_overdue(self, now_ms: TimestampMs) -> bool:
        return (
            self.state is TransactionState.ONGOING
            and self.timeout_ms != NO_TIMEOUT_MS
            and self.start_ms + self.timeout_ms < now_ms
        )


def created(producer_id: ProducerId, timeout_ms: int, now_ms: TimestampMs) -> Transaction:
    """An id nobody has used yet; its first record gives it epoch 0."""
    return Transaction(producer_id=producer_id, timeout_ms=timeout_ms, update_ms=now_ms)


def with_next_epoch(
    transaction: Transaction, expected_epoch: ProducerEpoch | None, timeout_ms: int, now_ms: TimestampMs
) -> Transaction:
    """InitProducerId on an id at rest. Raises PRODUCER_FENCED when ``expected_epoch`` is not the producer's last one."""
    epoch, last = transaction.producer_epoch, transaction.last_producer_epoch
    if expected_epoch is None:
        epoch, last = epoch + 1, NO_EPOCH
    elif epoch == NO_EPOCH or expected_epoch == epoch:
        epoch, last = epoch + 1, epoch
    elif expected_epoch != last:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    # else: the answer to a bump was lost. Nobody else can have had this epoch: another producer clears ``last``.
    return _moved(
        transaction,
        TransactionState.EMPTY,
        now_ms,
        producer_epoch=epoch,
        last_producer_epoch=last,
        timeout_ms=timeout_ms,
        start_ms=NO_TIMESTAMP,
        partitions=frozenset(),
    )


def with_next_producer_id(
    transaction: Transaction, producer_id: ProducerId, *, timeout_ms: int, now_ms: TimestampMs, keep_last_epoch: bool
) -> Transaction:
    """InitProducerId on an id at rest whose epochs are used up."""
    return _moved(
        transaction,
        TransactionState.EMPTY,
        now_ms,
        producer_id=producer_id,
        producer_epoch=0,
        previous_producer_id=transaction.producer_id,
        last_producer_epoch=transaction.producer_epoch if keep_last_epoch else NO_EPOCH,
        timeout_ms=timeout_ms,
        start_ms=NO_TIMESTAMP,
        partitions=frozenset(),
    )


def with_partitions(
    transaction: Transaction, added: Iterable[TopicPartition], client_version: int, now_ms: TimestampMs
) -> Transaction:
    ongoing = transaction.state is TransactionState.ONGOING
    return _moved(
        transaction,
        TransactionState.ONGOING,
        now_ms,
        partitions=transaction.partitions.union(added),
        start_ms=transaction.start_ms if ongoing else now_ms,
        client_version=client_version,
    )


def prepared(
    transaction: Transaction,
    *,
    commit: bool,
    client_version: int,
    next_producer_id: ProducerId,
    now_ms: TimestampMs,
) -> Transaction:
    """The decision. Under version 2 it raises the epoch; ``next_producer_id`` is given when none is left."""
    bumps = client_version >= VERSION_2
    assert next_producer_id == NO_PRODUCER_ID or bumps
    assert not (bumps and transaction.epoch_exhausted and next_producer_id == NO_PRODUCER_ID)
    ongoing = transaction.state is TransactionState.ONGOING
    return _moved(
        transaction,
        TransactionState.PREPARE_COMMIT if commit else TransactionState.PREPARE_ABORT,
        now_ms,
        producer_epoch=transaction.producer_epoch + 1 if bumps else transaction.producer_epoch,
        last_producer_epoch=transaction.producer_epoch if bumps else transaction.last_producer_epoch,
        next_producer_id=next_producer_id,
        partitions=transaction.partitions if ongoing else frozenset(),
        start_ms=transaction.start_ms if ongoing else now_ms,
        client_version=client_version,
    )


def fenced(transaction: Transaction, fresh_producer_id: ProducerId | None, now_ms: TimestampMs) -> Transaction:
    """An abort that the producer did not ask for. It raises the epoch by version 2's rule whatever the producer speaks."""
    exhausted = transaction.epoch_exhausted
    assert not exhausted or fresh_producer_id is not None
    return prepared(
        transaction,
        commit=False,
        client_version=VERSION_2,
        next_producer_id=fresh_producer_id if exhausted and fresh_producer_id is not None else NO_PRODUCER_ID,
        now_ms=now_ms,
    )


def completed(transaction: Transaction, now_ms: TimestampMs) -> Transaction:
    """Every partition has its marker."""
    producer_id, producer_epoch = transaction.identity
    return _moved(
        transaction,
        TransactionState.COMPLETE_COMMIT if transaction.commits else TransactionState.COMPLETE_ABORT,
        now_ms,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        previous_producer_id=transaction.producer_id,
        next_producer_id=NO_PRODUCER_ID,
        partitions=frozenset(),
    )


def _moved(transaction: Transaction, state: TransactionState, now_ms: TimestampMs, **changes: object) -> Transaction:
    assert transaction.state in REACHED_FROM[state], f"{transaction.state.name} -> {state.name}"
    moved = replace(transaction, state=state, update_ms=now_ms, **changes)  # type: ignore[arg-type]
    assert moved.producer_epoch >= 0
    assert moved.producer_id >= 0
    return moved
