"""What transactions mean to a coordinator: who writes, what belongs to whom, and how it ends.

Owns: the values between the runtime, its shards and their codec. A record *in a transaction* is in the log but not in
force; the *marker* of its producer, which comes later in the same log, says whether it ever will be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from broker.coordination.decision import Shard
from broker.types import LeaderEpoch, ProducerEpoch, ProducerId

R_co = TypeVar("R_co", covariant=True)
R_contra = TypeVar("R_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionalProducer:
    producer_id: ProducerId
    producer_epoch: ProducerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionMarker:
    """The end of a producer's open transaction in one partition."""

    producer_id: ProducerId
    producer_epoch: ProducerEpoch
    coordinator_epoch: LeaderEpoch
    """Of the transaction coordinator that decided; an older one cannot overrule it."""
    commit: bool
    transaction_version: int = 0
    """2: its epoch is above that of the data it ends. Not in the log: known only while it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InTransaction(Generic[R_co]):
    """A record as it is read back from a transactional batch."""

    record: R_co
    producer: TransactionalProducer


class TransactionalShard(Shard[R_contra], Protocol[R_contra]):
    """A shard whose log also holds transactions."""

    def replay_in_transaction(self, record: R_contra, producer: TransactionalProducer) -> None:
        """Remember a record until its marker comes."""

    def complete_transaction(self, marker: TransactionMarker) -> None:
        """Replay a marker: what is pending for its producer comes into force, or vanishes."""
