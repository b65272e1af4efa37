"""Requests to a group and its answers, free of wire versions.

Owns: the values that ``handlers/*`` build from messages and that the shard answers with. An answer's ``error`` is a
wire code; fields beside it keep the meaning they have on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.coordination.transaction import TransactionalProducer
from broker.errors import ErrorCode
from broker.types import NO_EPOCH, NO_OFFSET, ZERO_TOPIC_ID, Offset, TopicId

NO_GENERATION = -1
UNKNOWN_MEMBER = ""
"""The member id of a client that has none yet."""
NO_LEADER = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    group_id: str
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]
    """(name, metadata), the member's favourite first."""
    session_timeout_ms: int
    rebalance_timeout_ms: int
    generated_id: str
    """Randomness as an argument: the unique part of a member id, should one be needed."""
    requires_member_id: bool = True
    """JoinGroup v4+ (KIP-394)."""
    supports_skip_assignment: bool = True
    """JoinGroup v9+ (KIP-814)."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedMember:
    member_id: str
    instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReply:
    error: ErrorCode = ErrorCode.NONE
    member_id: str = UNKNOWN_MEMBER
    generation: int = NO_GENERATION
    protocol_type: str | None = None
    protocol: str | None = None
    leader: str = NO_LEADER
    skip_assignment: bool = False
    members: tuple[JoinedMember, ...] = ()
    """Everyone, for the leader; nobody for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sync:
    group_id: str
    generation: int
    member_id: str
    instance_id: str | None = None
    protocol_type: str | None = None
    protocol: str | None = None
    assignments: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncReply:
    error: ErrorCode = ErrorCode.NONE
    protocol_type: str | None = None
    protocol: str | None = None
    assignment: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    group_id: str
    generation: int
    member_id: str
    instance_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeavingMember:
    member_id: str
    instance_id: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    group_id: str
    members: tuple[LeavingMember, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveReply:
    members: tuple[tuple[LeavingMember, ErrorCode], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetToCommit:
    topic: str
    partition: int
    offset: Offset
    leader_epoch: int = NO_EPOCH
    metadata: str = ""
    topic_id: TopicId = ZERO_TOPIC_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitOffsets:
    group_id: str
    generation: int = NO_GENERATION
    member_id: str = UNKNOWN_MEMBER
    instance_id: str | None = None
    retention_ms: int = -1
    """-1: the broker's. Only OffsetCommit v2-v4 can say otherwise."""
    offsets: tuple[OffsetToCommit, ...] = ()
    knows_group_id_not_found: bool = True
    """OffsetCommit v9+; older clients are told ILLEGAL_GENERATION."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitOffsetsInTransaction:
    """TxnOffsetCommit: the offsets come into force when the transaction is committed."""

    producer: TransactionalProducer
    commit: CommitOffsets


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReply:
    """``errors`` runs parallel to the offsets of the request; ``error`` set means none was committed."""

    error: ErrorCode = ErrorCode.NONE
    errors: tuple[ErrorCode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedOffset:
    topic: str
    partition: int
    offset: Offset = NO_OFFSET
    leader_epoch: int = NO_EPOCH
    metadata: str = ""
    topic_id: TopicId = ZERO_TOPIC_ID
    error: ErrorCode = ErrorCode.NONE
    """UNSTABLE_OFFSET_COMMIT: who asked for stable offsets only shall ask again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOffsetsReply:
    error: ErrorCode = ErrorCode.NONE
    errors: tuple[ErrorCode, ...] = ()


CLASSIC_TYPE, CONSUMER_TYPE = "classic", "consumer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedGroup:
    group_id: str
    protocol_type: str
    state: str
    type: str = CLASSIC_TYPE


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedMember:
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes = b""
    assignment: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedGroup:
    group_id: str
    state: str
    protocol_type: str = ""
    protocol: str = ""
    members: tuple[DescribedMember, ...] = field(default=())
