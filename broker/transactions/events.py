"""Requests to a transactional id and its answers, free of wire versions.

Owns: the values that ``handlers/*`` build from messages and that the shard answers with. An answer's ``error`` is a wire
code of the newest version; what older versions are told instead is the handlers' matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from broker.errors import ErrorCode
from broker.transactions.states import TransactionState
from broker.types import (
    NO_EPOCH,
    NO_PRODUCER_ID,
    NO_TIMESTAMP,
    LeaderEpoch,
    ProducerEpoch,
    ProducerId,
    TimestampMs,
    TopicPartition,
)


class Missing(Enum):
    """What the shard lacks to decide: the driver gets it and asks again."""

    PRODUCER_ID = "a producer id nobody ever had"


@dataclass(frozen=True, slots=True, kw_only=True)
class InitProducerId:
    transactional_id: str
    timeout_ms: int
    producer_id: ProducerId = NO_PRODUCER_ID
    producer_epoch: ProducerEpoch = NO_EPOCH
    """Id and epoch a producer recovers with (KIP-360); both -1 for a new producer."""
    fresh_producer_id: ProducerId | None = None

    @property
    def recovers(self) -> bool:
        return self.producer_id != NO_PRODUCER_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class AddPartitions:
    transactional_id: str
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    partitions: frozenset[TopicPartition]
    client_version: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyPartitions:
    transactional_id: str
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    partitions: frozenset[TopicPartition]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndTransaction:
    transactional_id: str
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    commit: bool
    client_version: int = 0
    fresh_producer_id: ProducerId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortOverdue:
    """A transaction took longer than its producer said. ``producer_id`` and ``producer_epoch`` are those found."""

    transactional_id: str
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    fresh_producer_id: ProducerId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleteTransaction:
    """All markers of the prepared transaction of this id and epoch are written."""

    transactional_id: str
    producer_id: ProducerId
    producer_epoch: ProducerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityReply:
    """Of InitProducerId and EndTxn: what the producer shall use from now on."""

    error: ErrorCode = ErrorCode.NONE
    producer_id: ProducerId = NO_PRODUCER_ID
    producer_epoch: ProducerEpoch = NO_EPOCH


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionsReply:
    """Of AddPartitions (one error for all) and VerifyPartitions."""

    errors: Mapping[TopicPartition, ErrorCode]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedTransaction:
    """A decision that is on disk, as whoever sends its markers needs it."""

    coordinator: int
    """Partition of ``__transaction_state``."""
    coordinator_epoch: LeaderEpoch
    transactional_id: str
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    commit: bool
    partitions: frozenset[TopicPartition]
    client_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTransaction:
    transactional_id: str
    state: TransactionState
    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    timeout_ms: int
    start_ms: TimestampMs = NO_TIMESTAMP
    partitions: frozenset[TopicPartition] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTransaction:
    transactional_id: str
    producer_id: ProducerId
    state: TransactionState


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionFilter:
    """ListTransactions' filters; an empty set or ``None`` lets everything pass."""

    states: frozenset[TransactionState] | None = None
    producer_ids: frozenset[ProducerId] = frozenset()
    duration_ms: int = -1
    """Only what has run longer than this; -1 for all."""
