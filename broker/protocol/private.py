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


class ConnectionsRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """One page of this broker's connections, in the order they were accepted."""

    after: int = 0
    """Continue behind this connection id; 0 begins."""
    limit: int = 100
    client_id: str = ""
    """Only connections whose client id contains this; empty means all."""
    listener: str = ""
    """``client`` or ``internal``; empty means both."""


class ConnectionEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    connection_id: int
    listener: str
    peer_host: str
    peer_port: int
    connected_at_ms: int
    """Wall clock, exact to a second, as is ``idle_ms``."""
    idle_ms: int = 0
    """Since the last byte from the peer."""
    client_id: str | None = None
    """Of the last request; ``None`` when it had none or there was no request yet."""
    client_software_name: str = ""
    """From ApiVersions v3+; empty for older clients."""
    client_software_version: str = ""
    api_versions: dict[int, int] = {}
    """API key → the version the peer speaks it in."""
    requests: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    window_seconds: float = 0.0
    """What the rates are measured over: since somebody last looked, or since it was accepted."""
    requests_per_second: float = 0.0
    bytes_in_per_second: float = 0.0
    bytes_out_per_second: float = 0.0
    throttled_ms: int = 0
    """Time it was muted for by quotas, in all."""
    muted: bool = False
    """Whether it is being throttled now."""
    pending: int = 0
    """Requests received and not answered yet."""
    waiting_bytes: int = 0
    """Memory held by input that waits for its turn."""
    unsent_bytes: int = 0
    """Answers the peer has not taken."""


class ConnectionsResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    error_code: int = 0
    error_message: str = ""
    broker_id: int = -1
    sampled_at_ms: int = 0
    total: int = 0
    """Connections that match, on all pages."""
    next_after: int = 0
    """``after`` of the next page; 0 when this is the last."""
    connections: list[ConnectionEntry] = []


class DisconnectRequest(msgspec.Struct, frozen=True):
    connection_id: int


class DisconnectResponse(ErrorBody, frozen=True, omit_defaults=True):
    """RESOURCE_NOT_FOUND when the connection is gone already; ids are never used again."""
