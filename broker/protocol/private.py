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
    client_instance_id: bytes = b""
    """Of a client that pushes metrics (KIP-714): what ``ClientMetricsRequest`` asks for."""


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


class CleanerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The broker's configs of compaction, as they are now (``log.cleaner.*``)."""

    enabled: bool
    threads: int
    dedupe_buffer_bytes: int
    load_factor: float
    io_buffer_bytes: int
    io_bytes_per_second_max: float
    backoff_ms: int


class CompactionPartition(msgspec.Struct, frozen=True, kw_only=True):
    """One compacted partition of this broker."""

    topic: str
    partition: int
    topic_id: bytes
    directory: str
    """Absolute, on the broker's machine."""
    truncations: int
    """How often the log was truncated since the broker started: what was read before one proves nothing after it."""
    log_start_offset: int
    first_dirty_offset: int
    """Everything below was compacted already."""
    decided_offset: int
    """No compaction reaches it: records from here on may not be committed, durable, or in a closed segment yet."""
    min_cleanable_dirty_ratio: float
    min_compaction_lag_ms: int
    max_compaction_lag_ms: int
    delete_retention_ms: int
    segment_bytes: int
    segment_index_bytes: int
    index_interval_bytes: int
    segments: list[SegmentInfo]
    last_compacted_ms: int = -1
    """-1: not since the broker started."""
    last_bytes_before: int = 0
    last_bytes_after: int = 0


class CompactionInventoryRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """``topics`` empty means all, and so does ``partitions``."""

    topics: list[str] = []
    partitions: list[int] = []


class CompactionInventoryResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    error_code: int = 0
    error_message: str = ""
    broker_id: int = -1
    incarnation: str = ""
    sampled_at_ms: int = 0
    directory: str = ""
    """The log directory, absolute, on the broker's machine."""
    directory_id: str = ""
    """From its ``meta.properties``: who finds the same there looks at the same disk."""
    settings: CleanerSettings | None = None
    partitions: list[CompactionPartition] = []


class ActiveProducersRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    topic: str = ""
    partition: int = -1


class ActiveProducersResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """The producers whose last sequence the log must keep."""

    error_code: int = 0
    error_message: str = ""
    producers: list[tuple[int, int, int]] = []
    """(producer id, epoch, last offset of its last data batch; -1 if only markers of that epoch are there)."""


class ReplacedSegment(msgspec.Struct, frozen=True, array_like=True):
    """A segment as the worker read it."""

    base_offset: int
    end_offset: int
    size_bytes: int


class SwapSegmentsRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Put one cleaned segment in the place of closed ones that follow each other, and say what is clean now.

    Without ``replaced`` only the latter.
    """

    topic: str
    partition: int
    topic_id: bytes
    incarnation: str
    truncations: int
    token: str = ""
    """In the names of the cleaned files: ``<base offset>.<kind>.<token>.cleaned``."""
    replaced: list[ReplacedSegment] = []
    size_bytes: int = 0
    digest: int = 0
    """CRC-32C over the batch headers of the cleaned log, in order."""
    first_dirty_offset: int = -1
    """-1 while the pass goes on."""
    bytes_before: int = 0
    """Of the whole pass, with ``first_dirty_offset``."""
    bytes_after: int = 0


class SwapSegmentsResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    error_code: int = 0
    error_message: str = ""
    log_bytes: int = 0
    """Of the whole log afterwards."""


class MetricPoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """One value of one metric of a client, as it was pushed last (KIP-714)."""

    name: str
    kind: str
    """``gauge``, ``sum``, ``histogram`` or ``summary``."""
    value: float
    """Of a histogram or summary: the mean."""
    unit: str = ""
    delta: bool = False
    """Whether the value (and count) is of the time since the push before, rather than of the client's whole life."""
    time_ms: int = -1
    """By the client's clock."""
    attributes: dict[str, str] = {}
    count: int = 0
    """Measurements behind a histogram or summary."""
    low: float | None = None
    high: float | None = None


class ClientMetricsRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What clients pushed to this broker: one page by client instance id, or one instance alone."""

    after: bytes = b""
    limit: int = 100
    client_instance_id: bytes = b""
    """Only this one."""
    values: bool = True
    """False leaves the values out: for a list."""


class ClientInstanceEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    client_instance_id: bytes
    client_id: str = ""
    client_software_name: str = ""
    client_software_version: str = ""
    peer_host: str = ""
    connection_id: int = -1
    """The connection of its last request; see ``ConnectionEntry``."""
    metrics: list[str] = []
    """Prefixes it is asked for; ``*`` means all."""
    interval_ms: int = 0
    pushes: int = 0
    pushed_at_ms: int = -1
    """Wall clock of the last push; -1 when there was none."""
    last_error: int = 0
    """Kafka's code of what its last request was refused for."""
    terminating: bool = False
    points_left_out: int = 0
    """Values of the last push that were beyond what is kept."""
    points: list[MetricPoint] = []


class ClientMetricsResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    error_code: int = 0
    error_message: str = ""
    broker_id: int = -1
    sampled_at_ms: int = 0
    total: int = 0
    next_after: bytes = b""
    """``after`` of the next page; empty when this is the last."""
    instances: list[ClientInstanceEntry] = []


class BrokerStateRequest(msgspec.Struct, frozen=True):
    """How a broker is to be used from now on."""

    broker_id: int
    state: str
    """``active`` or ``draining``."""


class BrokerStateResponse(ErrorBody, frozen=True, omit_defaults=True):
    """BROKER_ID_NOT_REGISTERED for one that never was in the cluster, or was forgotten."""
