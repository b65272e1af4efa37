"""One transactional id, written down as the protocol's tables say it, without records, tickets or waiting.

The deliberately naive twin of ``TransactionShard``: everything in one mutable object, one question after the other, and the
answers as Kafka words them. Whatever has to wait is told CONCURRENT_TRANSACTIONS.
"""

from __future__ import annotations

from broker.errors import ErrorCode as E
from broker.types import TopicPartition

LAST_EPOCH = 32_766
Answer = E | tuple[int, int]


class NaiveTransaction:
    def __init__(self) -> None:
        self.exists = False
        self.id = -1
        self.epoch = -1
        self.last_epoch = -1
        self.previous_id = -1
        self.next_id = -1
        self.state = "Empty"
        self.partitions: set[TopicPartition] = set()
        self.start_ms = -1
        self.update_ms = 0
        self.timeout_ms = 0

    # InitProducerId

    def init(self, had: tuple[int, int] | None, timeout_ms: int, fresh: int, now_ms: int) -> Answer:
        if not self.exists:
            self.__init__()  # type: ignore[misc]
            self.exists, self.id, self.epoch = True, fresh, 0
            return self._at_rest(timeout_ms, now_ms)
        if had is not None:
            was_previous = had == (self.previous_id, self.last_epoch) and had[1] >= LAST_EPOCH
            if had[0] != self.id and not was_previous:
                return E.PRODUCER_FENCED
        if self.state.startswith("Prepare"):
            return E.CONCURRENT_TRANSACTIONS
        if self.state == "Ongoing":
            if had is not None and had != (self.id, self.epoch):
                return E.PRODUCER_FENCED
            self._fence(fresh, now_ms)
            return E.CONCURRENT_TRANSACTIONS
        if had is not None and had[1] != self.epoch:
            if had[1] != self.last_epoch:
                return E.PRODUCER_FENCED
            return self._at_rest(timeout_ms, now_ms)
        if self.epoch >= LAST_EPOCH:
            self.last_epoch = self.epoch if had is not None else -1
            self.previous_id, self.id, self.epoch = self.id, fresh, 0
        else:
            self.last_epoch = self.epoch if had is not None else -1
            self.epoch += 1
        return self._at_rest(timeout_ms, now_ms)

    def _at_rest(self, timeout_ms: int, now_ms: int) -> Answer:
        self.state, self.partitions, self.start_ms = "Empty", set(), -1
        self.timeout_ms, self.update_ms = timeout_ms, now_ms
        return self.id, self.epoch

    def _fence(self, fresh: int, now_ms: int) -> None:
        self._prepare("Abort", 2, fresh, now_ms)

    # Partitions

    def _is_me(self, producer: tuple[int, int]) -> E:
        if not self.exists:
            return E.INVALID_PRODUCER_ID_MAPPING
        if self.next_id >= 0 and producer == (self.next_id, 0):
            return E.NONE
        if producer[0] != self.id:
            return E.INVALID_PRODUCER_ID_MAPPING
        if self.next_id >= 0:
            return E.PRODUCER_FENCED if producer[1] != self.epoch else E.NONE
        return E.NONE if producer[1] == self.epoch else E.PRODUCER_FENCED

    def add(self, producer: tuple[int, int], partitions: set[TopicPartition], now_ms: int) -> E:
        code = self._is_me(producer)
        if code is not E.NONE:
            return code
        if self.state.startswith("Prepare"):
            return E.CONCURRENT_TRANSACTIONS
        if self.state == "Ongoing" and partitions <= self.partitions:
            return E.NONE
        if self.state != "Ongoing":
            self.state, self.start_ms, self.partitions = "Ongoing", now_ms, set()
        self.partitions |= partitions
        self.update_ms = now_ms
        return E.NONE

    def verify(self, producer: tuple[int, int], partition: TopicPartition) -> E:
        code = self._is_me(producer)
        if code is not E.NONE:
            return code
        if self.state.startswith("Prepare"):
            return E.CONCURRENT_TRANSACTIONS
        return E.NONE if partition in self.partitions else E.TRANSACTION_ABORTABLE

    # EndTxn

    def end(self, producer: tuple[int, int], commit: bool, version: int, fresh: int, now_ms: int) -> Answer:
        if not self.exists:
            return E.INVALID_PRODUCER_ID_MAPPING
        decision = "Commit" if commit else "Abort"
        if version == 2:
            return self._end_2(producer, decision, fresh, now_ms)
        if producer[0] != self.id:
            return E.INVALID_PRODUCER_ID_MAPPING
        if producer[1] != self.epoch:
            return E.PRODUCER_FENCED
        if self.state == "Ongoing":
            return self._prepare(decision, 0, fresh, now_ms)
        return self._again(decision)

    def _end_2(self, producer: tuple[int, int], decision: str, fresh: int, now_ms: int) -> Answer:
        complete = self.state.startswith("Complete")
        before_rotation = (
            complete and self.previous_id != self.id and producer == (self.previous_id, LAST_EPOCH) and self.epoch == 0
        )
        if producer[0] != self.id and not before_rotation:
            return E.INVALID_PRODUCER_ID_MAPPING
        retried = before_rotation or producer[1] == self.epoch - 1
        if retried and (complete or self.state.startswith("Prepare")):
            return self._again(decision)
        if producer[1] != self.epoch or self.state.startswith("Prepare"):
            return E.PRODUCER_FENCED
        if self.state == "Ongoing" or decision == "Abort":
            return self._prepare(decision, 2, fresh, now_ms)
        return E.INVALID_TXN_STATE

    def _again(self, decision: str) -> Answer:
        if self.state == f"Prepare{decision}":
            return E.CONCURRENT_TRANSACTIONS
        if self.state == f"Complete{decision}":
            return self.id, self.epoch
        return E.INVALID_TXN_STATE

    def _prepare(self, decision: str, version: int, fresh: int, now_ms: int) -> Answer:
        if self.state != "Ongoing":
            self.start_ms, self.partitions = now_ms, set()
        if version == 2:
            if self.epoch >= LAST_EPOCH:
                self.next_id = fresh
            self.last_epoch = self.epoch
            self.epoch += 1
        self.state, self.update_ms = f"Prepare{decision}", now_ms
        answer = (self.next_id, 0) if self.next_id >= 0 else (self.id, self.epoch)
        if not self.partitions:
            self.complete(now_ms)
        return answer

    # What nobody asks for

    def complete(self, now_ms: int) -> None:
        if not self.state.startswith("Prepare"):
            return
        self.state = self.state.replace("Prepare", "Complete")
        self.previous_id = self.id
        if self.next_id >= 0:
            self.id, self.epoch, self.next_id = self.next_id, 0, -1
        self.partitions, self.update_ms = set(), now_ms

    def pass_time(self, fresh: int, now_ms: int, expiration_ms: int) -> None:
        if not self.exists:
            return
        if self.state == "Ongoing" and self.start_ms + self.timeout_ms < now_ms:
            self._fence(fresh, now_ms)
        elif self.state[:4] in ("Empt", "Comp") and self.update_ms <= now_ms - expiration_ms:
            self.__init__()  # type: ignore[misc]

    def reload(self) -> None:
        """Kafka does not store which epoch came before."""
        self.last_epoch = -1
