"""Requests to a group of the new protocol and its answers, free of wire versions."""

from __future__ import annotations

from dataclasses import dataclass

from broker.errors import ErrorCode
from broker.groups.consumer.records import OwnedPartitions, Partitions

JOINING_EPOCH = 0
LEAVING_EPOCH = -1
AWAY_EPOCH = -2
"""A static member goes and means to come back: its partitions are kept for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerHeartbeat:
    """``None`` (-1 for the timeout) means: as last time."""

    group_id: str
    member_id: str
    epoch: int
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    topics: tuple[str, ...] | None = None
    """Sorted, each once."""
    regex: str | None = None
    assignor: str | None = None
    owned: Partitions | None = None
    """What the member says it has."""
    client_id: str = ""
    client_host: str = ""
    generated_id: str = ""
    """Randomness as an argument: the id of a member that brings none (v0 only)."""

    @property
    def is_full(self) -> bool:
        """Tells everything, as a member does that joins or is not sure of what it was told."""
        subscribes = self.topics is not None or self.regex is not None
        return self.rebalance_timeout_ms != -1 and subscribes and self.owned is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerHeartbeatReply:
    error: ErrorCode = ErrorCode.NONE
    message: str | None = None
    member_id: str | None = None
    epoch: int = 0
    heartbeat_interval_ms: int = 0
    assigned: OwnedPartitions | None = None
    """``None``: as the member was told last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedConsumer:
    member_id: str
    instance_id: str | None
    rack_id: str | None
    client_id: str
    client_host: str
    epoch: int
    topics: tuple[str, ...]
    regex: str | None
    is_classic: bool
    assigned: Partitions
    """With what it is giving up: it answers for that until it has."""
    target: Partitions


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedConsumerGroup:
    group_id: str
    state: str
    epoch: int
    assignment_epoch: int
    assignor: str
    members: tuple[DescribedConsumer, ...]
