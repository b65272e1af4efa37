"""Messages of the private APIs (keys ≥ 10000), spoken only on the internal listener.

Owns: their shapes. A private request or response is a Kafka frame with the non-flexible header (request
header v1, response header v0) whose body is one MessagePack value of the types below. Unknown fields are
ignored, so a newer peer may add fields with defaults; a changed meaning needs a new api version.
"""

from __future__ import annotations

import msgspec


class ErrorBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """``error_code`` is a Kafka code; 0 means the call succeeded."""

    error_code: int = 0
    error_message: str = ""


class AuthenticateRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Challenge–response with HMAC-SHA-256; the secret itself is never sent.

    Step 1: ``client_nonce`` (32 random bytes). Step 2 (same connection): ``proof`` =
    HMAC(secret, b"ottla client" + client_nonce + server_nonce).
    """

    client_nonce: bytes = b""
    proof: bytes = b""


class AuthenticateResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Step 1 carries ``server_nonce`` and ``proof`` = HMAC(secret, b"ottla server" + client_nonce + server_nonce)."""

    error_code: int = 0
    error_message: str = ""
    server_nonce: bytes = b""
    proof: bytes = b""


class TelemetryRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Long poll for the next sample. ``seq`` -1 (or another incarnation) asks for a full snapshot."""

    incarnation: str = ""
    seq: int = -1
    max_wait_ms: int = 1_000


class SegmentInfo(msgspec.Struct, frozen=True):
    base_offset: int
    end_offset: int
    """Exclusive."""
    size_bytes: int
    max_timestamp_ms: int
    """Largest record timestamp; -1 when the segment is empty."""
    last_modified_ms: int
    active: bool
    first_timestamp_ms: int = -1
    """Largest timestamp of its first batch; -1 unless details were asked for, or when the records carry none."""


class PartitionInventory(msgspec.Struct, frozen=True):
    topic: str
    partition: int
    log_start_offset: int
    high_watermark: int
    log_end_offset: int
    retention_ms: int
    retention_bytes: int
    cleanup_policy: str
    segments: list[SegmentInfo]
    last_stable_offset: int = -1
    """Where readers of committed records stop; -1 when it is not told."""
    segment_bytes: int = -1
    """The active segment is closed at this size; -1 unless details were asked for."""
    segment_ms: int = -1
    """… or at this age of its first record."""


class SegmentInventoryRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """``topics`` empty means all, and so does ``partitions``."""

    topics: list[str] = []
    partitions: list[int] = []
    details: bool = False
    """Also what a page shows and a plan does not need: the first timestamps, which may cost a look into each file."""


class SegmentInventoryResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    error_code: int = 0
    error_message: str = ""
    broker_id: int = -1
    sampled_at_ms: int = 0
    """The broker's wall clock when the inventory was taken: a plan is computed against it."""
    partitions: list[PartitionInventory] = []


class RetentionAction(msgspec.Struct, frozen=True):
    """Ask for the deletion of every closed segment that ends at or below ``new_log_start_offset``."""

    topic: str
    partition: int
    new_log_start_offset: int
    reason: str
    """``retention.ms`` or ``retention.bytes``."""


class ApplyRetentionRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    actions: list[RetentionAction] = []


class RetentionOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    topic: str
    partition: int
    error_code: int = 0
    error_message: str = ""
    """Why the broker refused or did less than asked, judged against its live state."""
    deleted_segments: int = 0
    deleted_bytes: int = 0
    log_start_offset: int = -1


class ApplyRetentionResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    error_code: int = 0
    error_message: str = ""
    outcomes: list[RetentionOutcome] = []
