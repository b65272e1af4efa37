"""The transactional ids of one partition of ``__transaction_state``: the whole pure core behind one door.

Owns: which ids exist here and what is known of each (``metadata.py``), who waits for a transaction to complete, and which
decisions still need their markers. Handlers make records and replies, ``replay`` makes state; the driver throws the whole
shard away when an append fails.

What must stay true:
- a decision (PrepareCommit, PrepareAbort) is never taken back: from there the only way is its Complete;
- an event of an id that is being completed waits for it, at most ``complete_wait_ms`` and at most ``WAITING_MAX`` of
  them, and is then judged anew; Kafka answers CONCURRENT_TRANSACTIONS at once, which clients answer with a pause;
- whoever shows another epoch than the id's present one changes nothing;
- ``prepared`` names every id whose decision came to be since it was last drained; the driver sends markers for them once
  the record is committed, never before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from broker.coordination.decision import Decision, Ticket, TimerKey
from broker.errors import ErrorCode, KafkaError
from broker.limits import TOPIC_NAME_LENGTH_MAX
from broker.transactions import metadata
from broker.transactions.ending import Verdict, judge
from broker.transactions.events import (
    AbortOverdue,
    AddPartitions,
    CompleteTransaction,
    DescribedTransaction,
    EndTransaction,
    IdentityReply,
    InitProducerId,
    ListedTransaction,
    Missing,
    PartitionsReply,
    TransactionFilter,
    VerifyPartitions,
)
from broker.transactions.initializing import decide_identity
from broker.transactions.metadata import VERSION_2, Transaction
from broker.transactions.records import TransactionRecord, encode_value
from broker.transactions.states import TransactionState
from broker.types import NO_PRODUCER_ID, ProducerEpoch, ProducerId

WAITING_MAX = 16
"""Events that wait for one transaction to complete; a further one is told to come again."""
_PARTITION_BYTES_MAX = TOPIC_NAME_LENGTH_MAX + 16
"""What a partition adds to its record at most; few partitions need no measuring."""

Attempt = Callable[[Ticket, int], Decision[TransactionRecord]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardConfig:
    complete_wait_ms: int
    id_expiration_ms: int
    record_bytes_max: int
    """A transaction whose record does not fit into one batch of ``__transaction_state`` cannot take more partitions."""


class TransactionShard:
    def __init__(self, config: ShardConfig) -> None:
        self._config = config
        self.transactions: dict[str, Transaction] = {}
        self.open: dict[str, Transaction] = {}
        """Those of ``transactions`` that partitions wait for: few of many."""
        self.prepared: set[str] = set()
        """Drained by the driver after each step."""
        self.completed: set[str] = set()
        """Ids somebody waits for and that are complete now; drained the same way, by ``wake``."""
        self._waiting: dict[str, deque[tuple[Ticket, Attempt]]] = {}

    # Replay ------------------------------------------------------------------------------------------

    def replay(self, record: TransactionRecord) -> None:
        transactional_id, transaction = record.transactional_id, record.value
        if transaction is not None and transaction.state.is_open:
            self.open[transactional_id] = transaction
        else:
            self.open.pop(transactional_id, None)
        if transaction is None:
            self.transactions.pop(transactional_id, None)
        else:
            self.transactions[transactional_id] = transaction
        if transaction is not None and transaction.state.is_prepared:
            self.prepared.add(transactional_id)
            self.completed.discard(transactional_id)
        else:
            self.prepared.discard(transactional_id)
            if transactional_id in self._waiting:
                self.completed.add(transactional_id)

    def on_loaded(self, now_ms: int) -> Decision[TransactionRecord]:
        """Nothing to write: what was prepared is in ``prepared``."""
        return Decision()

    def on_timer(self, key: TimerKey, now_ms: int) -> Decision[TransactionRecord]:
        """Whoever waited long enough comes again."""
        decision: Decision[TransactionRecord] = Decision()
        for ticket, _ in self._waiting.pop(key[1], ()):
            decision.reply(ticket, KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS))
        return decision

    # Waiting -----------------------------------------------------------------------------------------

    def _wait(
        self, decision: Decision[TransactionRecord], transactional_id: str, ticket: Ticket, attempt: Attempt
    ) -> Decision[TransactionRecord]:
        """Keep ``ticket`` until the transaction under way is complete."""
        waiting = self._waiting.setdefault(transactional_id, deque())
        if len(waiting) >= WAITING_MAX or self._config.complete_wait_ms == 0:
            decision.reply(ticket, KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS))
            return decision
        if not waiting:
            decision.set_timer(("wait", transactional_id), self._config.complete_wait_ms)
        waiting.append((ticket, attempt))
        return decision

    def wake(self, transactional_id: str, now_ms: int) -> Decision[TransactionRecord]:
        """Judge one of those who waited for ``transactional_id`` anew. Called until ``completed`` is empty."""
        waiting = self._waiting.get(transactional_id)
        if not waiting:
            self._waiting.pop(transactional_id, None)
            self.completed.discard(transactional_id)
            return Decision(timers={("wait", transactional_id): None})
        ticket, attempt = waiting.popleft()
        return attempt(ticket, now_ms)

    # Producers ---------------------------------------------------------------------------------------

    def init_producer_id(self, event: InitProducerId, ticket: Ticket, now_ms: int) -> Decision[TransactionRecord]:
        decision: Decision[TransactionRecord] = Decision()
        transaction = self.transactions.get(event.transactional_id)
        if transaction is None and event.fresh_producer_id is None:
            decision.reply(ticket, Missing.PRODUCER_ID)
            return decision
        try:
            outcome = decide_identity(transaction, event, now_ms)
        except KafkaError as error:
            decision.reply(ticket, error)
            return decision
        if outcome is Missing.PRODUCER_ID:
            decision.reply(ticket, outcome)
            return decision
        if outcome is not None and not outcome.state.is_prepared:
            decision.records.append(TransactionRecord(transactional_id=event.transactional_id, value=outcome))
            decision.reply(ticket, _identity(outcome))
            return decision
        if outcome is not None:
            decision.records += self._ended(event.transactional_id, outcome, now_ms)
        again = replace(event, fresh_producer_id=None)
        return self._wait(
            decision,
            event.transactional_id,
            ticket,
            lambda waited, later_ms: self.init_producer_id(again, waited, later_ms),
        )

    def add_partitions(self, event: AddPartitions, ticket: Ticket, now_ms: int) -> Decision[TransactionRecord]:
        decision: Decision[TransactionRecord] = Decision()
        try:
            transaction = self._of_producer(event.transactional_id, event.producer_id, event.producer_epoch)
        except KafkaError as error:
            decision.reply(ticket, PartitionsReply(errors=dict.fromkeys(event.partitions, error.code)))
            return decision
        if transaction.state.is_prepared:
            return self._wait(
                decision,
                event.transactional_id,
                ticket,
                lambda waited, later_ms: self.add_partitions(event, waited, later_ms),
            )
        known = transaction.state is TransactionState.ONGOING and event.partitions <= transaction.partitions
        if not known:
            grown = metadata.with_partitions(transaction, event.partitions, event.client_version, now_ms)
            if not self._fits(grown):
                reply = PartitionsReply(errors=dict.fromkeys(event.partitions, ErrorCode.INVALID_REQUEST))
                decision.reply(ticket, reply)
                return decision
            decision.records.append(TransactionRecord(transactional_id=event.transactional_id, value=grown))
        decision.reply(ticket, PartitionsReply(errors=dict.fromkeys(event.partitions, ErrorCode.NONE)))
        return decision

    def _fits(self, transaction: Transaction) -> bool:
        if len(transaction.partitions) * _PARTITION_BYTES_MAX <= self._config.record_bytes_max:
            return True
        return len(encode_value(transaction)) <= self._config.record_bytes_max

    def verify_partitions(self, event: VerifyPartitions) -> PartitionsReply:
        """Whether each partition is in the ongoing transaction. Changes nothing and never waits."""
        try:
            transaction = self._of_producer(event.transactional_id, event.producer_id, event.producer_epoch)
            if transaction.state.is_prepared:
                raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
        except KafkaError as error:
            return PartitionsReply(errors=dict.fromkeys(event.partitions, error.code))
        return PartitionsReply(
            errors={
                partition: ErrorCode.NONE if partition in transaction.partitions else ErrorCode.TRANSACTION_ABORTABLE
                for partition in event.partitions
            }
        )

    def end(self, event: EndTransaction, ticket: Ticket, now_ms: int) -> Decision[TransactionRecord]:
        decision: Decision[TransactionRecord] = Decision()
        transaction = self.transactions.get(event.transactional_id)
        try:
            verdict = judge(transaction, event)
        except KafkaError as error:
            decision.reply(ticket, error)
            return decision
        assert transaction is not None
        if verdict is Verdict.WAIT:
            return self._wait(
                decision, event.transactional_id, ticket, lambda waited, later_ms: self.end(event, waited, later_ms)
            )
        if verdict is Verdict.DONE:
            decision.reply(ticket, _identity(transaction))
            return decision
        bumps = event.client_version >= VERSION_2
        next_producer_id = NO_PRODUCER_ID
        if bumps and transaction.epoch_exhausted:
            if event.fresh_producer_id is None:
                decision.reply(ticket, Missing.PRODUCER_ID)
                return decision
            next_producer_id = event.fresh_producer_id
        decided = metadata.prepared(
            transaction,
            commit=event.commit,
            client_version=event.client_version,
            next_producer_id=next_producer_id,
            now_ms=now_ms,
        )
        decision.records += self._ended(event.transactional_id, decided, now_ms)
        decision.reply(ticket, _identity(decided))
        return decision

    def _of_producer(self, transactional_id: str, producer_id: ProducerId, epoch: ProducerEpoch) -> Transaction:
        """Raises INVALID_PRODUCER_ID_MAPPING or PRODUCER_FENCED unless it is the id's present producer."""
        transaction = self.transactions.get(transactional_id)
        if transaction is None:
            raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if (producer_id, epoch) == transaction.identity and transaction.state.is_prepared:
            return transaction  # it was told its next id with the answer to EndTxn
        if producer_id != transaction.producer_id:
            raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        if epoch != transaction.producer_epoch:
            raise KafkaError(ErrorCode.PRODUCER_FENCED)
        return transaction

    @staticmethod
    def _ended(transactional_id: str, decided: Transaction, now_ms: int) -> list[TransactionRecord]:
        """The decision; without partitions there is nothing to mark, and it is complete with the same append."""
        records = [TransactionRecord(transactional_id=transactional_id, value=decided)]
        if not decided.partitions:
            complete = metadata.completed(decided, now_ms)
            records.append(TransactionRecord(transactional_id=transactional_id, value=complete))
        return records

    # Completion and time -----------------------------------------------------------------------------

    def complete(self, event: CompleteTransaction, now_ms: int) -> Decision[TransactionRecord]:
        """Nothing happens when the id has moved on: its markers were sent by another coordinator or life."""
        transaction = self.transactions.get(event.transactional_id)
        prepared = (event.producer_id, event.producer_epoch)
        if transaction is None or not transaction.state.is_prepared:
            return Decision()
        if (transaction.producer_id, transaction.producer_epoch) != prepared:
            return Decision()
        complete = metadata.completed(transaction, now_ms)
        return Decision(records=[TransactionRecord(transactional_id=event.transactional_id, value=complete)])

    def overdue(self, now_ms: int) -> list[AbortOverdue]:
        return [
            AbortOverdue(
                transactional_id=transactional_id,
                producer_id=transaction.producer_id,
                producer_epoch=transaction.producer_epoch,
            )
            for transactional_id, transaction in self.open.items()
            if transaction.is_overdue(now_ms)
        ]

    def abort_overdue(self, event: AbortOverdue, ticket: Ticket, now_ms: int) -> Decision[TransactionRecord]:
        """Abort and fence: the producer of this epoch is refused from here on."""
        decision: Decision[TransactionRecord] = Decision()
        transaction = self.transactions.get(event.transactional_id)
        found = None if transaction is None else (transaction.producer_id, transaction.producer_epoch)
        if transaction is None or not transaction.is_overdue(now_ms):
            decision.reply(ticket, IdentityReply(error=ErrorCode.INVALID_TXN_STATE))
        elif found != (event.producer_id, event.producer_epoch):
            decision.reply(ticket, IdentityReply(error=ErrorCode.PRODUCER_FENCED))
        elif transaction.epoch_exhausted and event.fresh_producer_id is None:
            decision.reply(ticket, Missing.PRODUCER_ID)
        else:
            decided = metadata.fenced(transaction, event.fresh_producer_id, now_ms)
            decision.records += self._ended(event.transactional_id, decided, now_ms)
            decision.reply(ticket, _identity(decided))
        return decision

    def expire(self, now_ms: int, count_max: int) -> Decision[TransactionRecord]:
        """Tombstones for ids at rest that nobody has used for ``transactional.id.expiration.ms``."""
        oldest_ms = now_ms - self._config.id_expiration_ms
        expired = [
            TransactionRecord(transactional_id=transactional_id, value=None)
            for transactional_id, transaction in self.transactions.items()
            if not transaction.state.is_open and transaction.update_ms <= oldest_ms
        ]
        return Decision(records=expired[:count_max])

    # Looking -----------------------------------------------------------------------------------------

    def describe(self, transactional_id: str) -> DescribedTransaction | None:
        transaction = self.transactions.get(transactional_id)
        if transaction is None:
            return None
        return DescribedTransaction(
            transactional_id=transactional_id,
            state=transaction.state,
            producer_id=transaction.producer_id,
            producer_epoch=transaction.producer_epoch,
            timeout_ms=transaction.timeout_ms,
            start_ms=transaction.start_ms,
            partitions=transaction.partitions,
        )

    def list_transactions(self, wanted: TransactionFilter, now_ms: int) -> list[ListedTransaction]:
        return [
            ListedTransaction(
                transactional_id=transactional_id, producer_id=transaction.producer_id, state=transaction.state
            )
            for transactional_id, transaction in self.transactions.items()
            if _is_wanted(transaction, wanted, now_ms)
        ]


def _identity(transaction: Transaction) -> IdentityReply:
    producer_id, producer_epoch = transaction.identity
    return IdentityReply(producer_id=producer_id, producer_epoch=producer_epoch)


def _is_wanted(transaction: Transaction, wanted: TransactionFilter, now_ms: int) -> bool:
    if wanted.states is not None and transaction.state not in wanted.states:
        return False
    if wanted.producer_ids and transaction.producer_id not in wanted.producer_ids:
        return False
    return wanted.duration_ms < 0 or now_ms - transaction.start_ms > wanted.duration_ms
