"""What one broker says about itself once a second: the shapes of the telemetry long poll.

Owns: the value types. The sampler fills them, the collector reads them; nothing else is on that wire.
A ``Sample`` is either full (a snapshot) or a delta against ``seq - 1`` of the same ``incarnation``:
changed entries replace, ``removed_*`` entries go. Law: reduce(snapshot, deltas) == a fresh snapshot.
Counters (``*_total``) only grow within one incarnation; a reader seeing another incarnation shows a gap,
never a negative rate.
"""

from __future__ import annotations

import msgspec


class SourceSample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One broker that this one copies partitions from."""

    broker_id: int
    connected: bool = False
    partitions: int = 0
    """Followed from it."""
    catching_up: int = 0
    """Of those: far behind, and fetched on a connection of their own."""
    bytes_total: int = 0
    """Received from it in answers to fetches."""
    fetches_total: int = 0
    failures_total: int = 0
    """Connections that could not be made, or were lost."""


class BrokerSample(msgspec.Struct, frozen=True, omit_defaults=True):
    id: int
    host: str = ""
    port: int = -1
    rack: str = ""
    is_controller: bool = False
    started_at_ms: int = 0
    cpu_seconds: float = 0.0
    rss_bytes: int = 0
    connections: int = 0
    connections_refused_total: int = 0
    """Turned away by a limit on connections."""
    connections_stalled_total: int = 0
    """Ended because they did not read while too much lay unsent."""
    violations_total: int = 0
    """Connections ended because of what the peer sent, or did not send in time."""
    unsent_bytes: int = 0
    """Answers that slow readers have not taken."""
    throttled_total: int = 0
    """Answers that told their client to wait for its quota."""
    throttled_ms_total: int = 0
    client_instances: int = 0
    """Clients that push metrics to this broker (KIP-714)."""
    requests_total: int = 0
    bytes_in_total: int = 0
    """Record bytes appended from clients."""
    bytes_out_total: int = 0
    """Record bytes handed to consumers."""
    replica_bytes_out_total: int = 0
    """Record bytes handed to followers."""
    under_replicated: int = 0
    """Partitions led here whose in-sync set lacks a replica."""
    under_min_isr: int = 0
    """Of those: with fewer in-sync replicas than ``min.insync.replicas``. Nobody can write with acks=all."""
    isr_changes_total: int = 0
    """In-sync sets that changed while this broker led."""
    sources: list[SourceSample] = []
    """By broker id; empty while nothing is followed."""
    replica_throttled_ms_total: int = 0
    """How long replicas have waited for ``follower.replication.throttled.rate``."""
    records_in_total: int = 0
    fsync_rounds_total: int = 0
    ack_durability: str = "flush"
    disk_free_bytes: int = -1
    disk_total_bytes: int = -1
    log_dir: str = ""
    produce_refused_reason: str = ""
    """Why produce is refused right now (disk guard, failed log dir); empty when it is not."""
    offline_log_dir_reason: str = ""
    transactional_ids: int = 0
    """Known to the transaction coordinator of this broker."""
    transactions_open: int = 0
    """Of those: with a transaction that is ongoing or whose markers are not all written."""
    oldest_transaction_ms: int = -1
    """Broker wall clock at which the oldest of them began; -1 when none is open."""
    store: str = ""
    """The metadata store it uses: ``sqlite`` or ``zookeeper``."""
    store_trouble: str = ""
    """Why the metadata store cannot be used now, in words; empty while it answers."""
    store_trouble_since_ms: int = -1
    session_timeout_ms: int = -1
    """How long the others wait for a sign of life before they take its partitions over."""


class PartitionSample(msgspec.Struct, frozen=True, omit_defaults=True):
    topic: str
    partition: int
    leader: int = -1
    leader_epoch: int = -1
    replicas: list[int] = []
    isr: list[int] = []
    log_start_offset: int = -1
    high_watermark: int = -1
    last_stable_offset: int = -1
    """Where readers of committed records stop: below the high watermark while a transaction is open."""
    log_end_offset: int = -1
    flushed_offset: int = -1
    size_bytes: int = 0
    segment_count: int = 0
    bytes_in_total: int = 0
    records_in_total: int = 0
    bytes_out_total: int = 0
    replica_bytes_out_total: int = 0
    lag: int = -1
    """Told by a follower alone: committed records that it lacks, as far as its leader has told; -1 when it has not."""
    last_record_ms: int = -1
    """Largest record timestamp seen; -1 when unknown or empty."""
    last_append_ms: int = -1
    """Broker wall clock of the last append of this incarnation."""
    producers: int = 0
    offline_reason: str = ""
    partition_epoch: int = -1
    """Grows with every change of who leads, is in sync or keeps it: of two brokers that disagree the larger one is right."""
    elr: list[int] = []
    """Not in sync, but with everything that was acknowledged (KIP-966): may lead when nobody in sync can."""
    last_known_leader: int = -1
    adding: list[int] = []
    """Replicas on their way here, while a reassignment runs."""
    removing: list[int] = []
    cause: str = ""
    """Why leader, in-sync set or replicas changed last: a short code, as the controller wrote it."""
    changed_at_ms: int = -1
    """When that was, by the controller's wall clock."""
    unclean_epoch: int = -1
    """The leader epoch of the last election that may have lost acknowledged records; -1: there was none."""
    unclean_at_ms: int = -1
    """When that was, by the controller's wall clock."""
    followers: list[tuple[int, int, int]] = []
    """Told by the leader alone: (broker id, log end offset it fetches from, wall clock when it was last caught up).
    The offset is -1 until it has fetched under this leader; the time is 0 while it has everything, so that nothing changes
    while nothing happens, and -1 for a new replica that never had."""


class TopicSample(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    topic_id: str
    """URL-safe base64, as Kafka's tools print it."""
    internal: bool = False
    partition_count: int = 0
    replication_factor: int = 1
    configs: dict[str, str] = {}
    """Only the topic's own overrides."""
    min_insync_replicas: int = -1
    """In force for the topic, wherever it comes from."""


class MemberSample(msgspec.Struct, frozen=True, omit_defaults=True):
    member_id: str
    client_id: str = ""
    host: str = ""
    instance_id: str = ""
    session_timeout_ms: int = 0
    last_heartbeat_ms: int = -1
    """Broker wall clock; -1 unknown."""
    assignment: list[tuple[str, int]] = []
    """(topic, partition) pairs when the group speaks the consumer protocol."""
    protocol: str = "classic"
    """``classic`` or ``consumer``: the one this member speaks, whatever the type of its group."""
    epoch: int = -1
    """In a group of type ``consumer``: how far this member has followed its group; -2 while a static member is away."""
    state: str = ""
    """In a group of type ``consumer``: Stable, UnrevokedPartitions or UnreleasedPartitions."""
    target: list[tuple[str, int]] = []
    """In a group of type ``consumer``: what the member is to have; ``assignment`` is what it has."""
    revoking: list[tuple[str, int]] = []
    """Partitions the member was told to give up and may still be reading."""
    topics: list[str] = []
    """Subscribed to by name, in a group of type ``consumer``."""
    topic_regex: str = ""
    rack: str = ""


class OffsetSample(msgspec.Struct, frozen=True, omit_defaults=True):
    topic: str
    partition: int
    committed: int = -1
    committed_at_ms: int = -1
    """Broker wall clock of the commit."""
    record_timestamp_ms: int = -1
    """Timestamp of the record at the committed offset (the next to be read), from the broker's own log;
    -1 when there is none (caught up) or unknown. Time lag is measured from it."""


class GroupSample(msgspec.Struct, frozen=True, omit_defaults=True):
    group_id: str
    state: str = "Empty"
    """Kafka's names: Empty, PreparingRebalance, CompletingRebalance, Stable, Dead; of type ``consumer``: Empty,
    Assigning, Reconciling, Stable."""
    protocol_type: str = ""
    protocol: str = ""
    """What the members agreed on; of type ``consumer``: the assignor of the server."""
    generation: int = -1
    """The group epoch in a group of type ``consumer``."""
    leader: str = ""
    coordinator: int = -1
    rebalances_total: int = 0
    last_rebalance_reason: str = ""
    state_since_ms: int = -1
    members: list[MemberSample] = []
    offsets: list[OffsetSample] = []
    type: str = "classic"
    """``classic`` or ``consumer`` (KIP-848)."""
    assignment_epoch: int = -1
    """The epoch of the targets in a group of type ``consumer``; below ``generation`` new ones are due."""


class ElectionSample(msgspec.Struct, frozen=True, omit_defaults=True):
    """How one broker became controller."""

    epoch: int
    broker_id: int
    at_ms: int = -1
    cause: str = ""


class RegistrationSample(msgspec.Struct, frozen=True, omit_defaults=True):
    """A broker as the cluster's metadata has it, which outlives what the broker itself can tell."""

    id: int
    host: str = ""
    port: int = -1
    rack: str = ""
    internal_host: str = ""
    """Of its internal listener, where its telemetry is to be had; empty while it is not registered."""
    internal_port: int = -1
    epoch: int = -1
    """Of its registration; grows with each (Kafka's broker epoch)."""
    incarnation: str = ""
    registered_at_ms: int = -1
    live: bool = False
    """Whether its session is there."""
    settled: bool = True
    """Whether the controller has acted on this registration."""
    left_at_ms: int = -1
    """When its last registration ended; -1 while it is there."""
    state: str = ""
    """``draining``, ``stopping`` or ``decommissioned``; empty when it is none of them."""
    state_since_ms: int = -1
    data_intact: bool = True
    """False: it was not stopped cleanly and may have lost what it acknowledged, so it has to catch up first."""


class ControlSample(msgspec.Struct, frozen=True, omit_defaults=True):
    """The control plane as one broker sees it."""

    controller_epoch: int = -1
    elected_at_ms: int = -1
    elections: list[ElectionSample] = []
    """The last ones, newest last."""
    brokers: list[RegistrationSample] = []


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    broker_id: int
    incarnation: str
    seq: int
    sampled_at_ms: int
    full: bool
    broker: BrokerSample
    cluster_id: str = ""
    controller_id: int = -1
    revision: int = -1
    """Of the metadata behind this sample: of two brokers that disagree the larger one is right."""
    control: ControlSample | None = None
    """Only when it changed, and in full samples."""
    topics: list[TopicSample] = []
    partitions: list[PartitionSample] = []
    groups: list[GroupSample] = []
    removed_topics: list[str] = []
    removed_partitions: list[tuple[str, int]] = []
    removed_groups: list[str] = []


class TelemetryResponse(msgspec.Struct, frozen=True, omit_defaults=True):
    """``samples`` in order; empty when nothing new came within ``max_wait_ms``."""

    error_code: int = 0
    error_message: str = ""
    samples: list[Sample] = []
