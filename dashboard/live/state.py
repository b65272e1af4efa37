"""The view model: every page renders from these rows, every live frame carries some of them.

Owns: the row types, their keys, the scopes they are published under, and the wire form of snapshots and
frames. The collector makes rows (``dashboard/collector``), the pages and the live consumer read them;
nobody else writes them.

A *scope* is what one page watches: ``cluster`` (health, brokers, alerts, highlights), ``topics`` and
``groups`` (one row each), ``topic:<name>``, ``group:<id>`` and ``broker:<id>`` (the detail of one), ``replication`` (who
follows whom, and partitions worth a look), ``events`` (what changed and why) and ``control`` (the controller). A scope's state is a
mapping from row key to row, so a delta is "these keys are now these rows, those are gone".

Numbers: ``None`` means unknown and is shown as a dash with a reason, never as 0. Rates are per second. Offsets
and timestamps keep the broker's own -1 for "there is none". ``source`` is the broker a row's numbers come from:
how old they are is that broker's entry in ``Pulse.sampled``.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from dashboard.live import base
from dashboard.live.base import Level
from dashboard.live.replication_rows import (
    ControllerRow,
    EventRow,
    LinkRow,
    PartitionRow,
    ReplicaRow,
    ReplicationRow,
)

PROTOCOL_VERSION = 1
"""Of the frames in Redis and of the WebSocket; a reader seeing another version asks for a snapshot."""

CLUSTER = "cluster"
TOPICS = "topics"
GROUPS = "groups"
REPLICATION = "replication"
EVENTS = "events"
CONTROL = "control"


def topic_scope(name: str) -> str:
    return f"topic:{name}"


def group_scope(group_id: str) -> str:
    return f"group:{group_id}"


def broker_scope(broker_id: int) -> str:
    return f"broker:{broker_id}"


def is_detail(scope: str) -> bool:
    """Whether the scope is about one topic, group or broker, so that it is published only while watched."""
    return scope.startswith(("topic:", "group:", "broker:"))


class HeadRow(base.Row, frozen=True, tag="head"):
    """The cluster in one row."""

    KEY = "head"

    level: Level = "unknown"
    sentence: str = ""
    cluster_id: str = ""
    controller_id: int = -1
    brokers: int = 0
    brokers_online: int = 0
    topics: int = 0
    partitions: int = 0
    partitions_offline: int = 0
    partitions_under_replicated: int = 0
    partitions_under_min_isr: int = 0
    partitions_reassigning: int = 0
    partitions_led_elsewhere: int = 0
    single_copy: int = 0
    """Partitions of clients' topics that are meant to have one replica only."""
    groups: int = 0
    groups_behind: int = 0
    bytes_in_rate: float | None = None
    bytes_out_rate: float | None = None
    records_in_rate: float | None = None
    lag: int | None = None
    """Of all groups together; ``None`` when no group's lag is known."""
    size_bytes: int = 0
    top_topics: list[str] = []
    """The few the overview shows; their rows are in the same scope."""
    top_groups: list[str] = []


class BrokerRow(base.Row, frozen=True, tag="broker"):
    id: int
    host: str = ""
    port: int = -1
    rack: str = ""
    is_controller: bool = False
    online: bool = False
    live: bool | None = None
    """Whether the cluster counts it in (its session is there); ``None`` when nobody told."""
    state: str = ""
    """``draining``, ``stopping`` or ``decommissioned``; pages show ``broker_condition``."""
    left_at_ms: int = -1
    """When the cluster stopped counting it in; -1 while it does."""
    data_intact: bool = True
    epoch: int = -1
    """Of its registration."""
    incarnation: str = ""
    registered_at_ms: int = -1
    session_timeout_ms: int = -1
    silent_since_ms: int = -1
    """When the last answer came, for a broker that no longer answers; -1 when it never did."""
    trouble: str = ""
    """Why it does not answer, in words."""
    started_at_ms: int = -1
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    connections: int | None = None
    request_rate: float | None = None
    bytes_in_rate: float | None = None
    bytes_out_rate: float | None = None
    records_in_rate: float | None = None
    leaders: int = 0
    preferred: int = 0
    """Partitions that are meant to be led by it."""
    replicas: int = 0
    out_of_sync: int = 0
    """Of its replicas."""
    size_bytes: int = 0
    leader_skew: float | None = None
    """Its share of leaders above (or below) an even one, in percent; ``None`` while it counts for nothing."""
    replica_skew: float | None = None
    disk_free_bytes: int = -1
    disk_total_bytes: int = -1
    log_dir: str = ""
    ack_durability: str = ""
    produce_refused_reason: str = ""
    offline_log_dir_reason: str = ""
    store_trouble: str = ""
    """Why it cannot use the metadata store now."""
    store_trouble_since_ms: int = -1

    @property
    def key(self) -> str:
        return f"broker:{self.id}"

    @property
    def level(self) -> Level:
        if self.state == "decommissioned":
            return "idle"
        if not self.online or self.offline_log_dir_reason or self.produce_refused_reason:
            return "bad"
        if self.live is False or self.state or self.store_trouble or not self.data_intact:
            return "warn"
        return "good"


class TopicRow(base.Row, frozen=True, tag="topic"):
    name: str
    topic_id: str = ""
    internal: bool = False
    partition_count: int = 0
    replication_factor: int = 1
    size_bytes: int | None = None
    records: int | None = None
    """High watermark minus log start, over all partitions; an estimate where offsets have holes."""
    bytes_in_rate: float | None = None
    bytes_out_rate: float | None = None
    records_in_rate: float | None = None
    last_record_ms: int = -1
    producers: int = 0
    offline: int = 0
    offline_reason: str = ""
    """Of the first offline partition, in its broker's words."""
    under_replicated: int = 0
    under_min_isr: int = 0
    reassigning: int = 0
    led_elsewhere: int = 0
    """Partitions led by another broker than the preferred one."""
    min_isr: int | None = None
    missing: list[int] = []
    """Brokers that lack in the in-sync set of some partition."""
    held: int = 0
    """Partitions where an open transaction holds back readers of committed records."""
    held_records: int = 0
    held_since_ms: int = -1
    """The longest of them."""
    group_count: int = 0
    worst_group: str = ""
    worst_lag: int | None = None
    cleanup_policy: str = ""
    """Only when the topic overrides it."""
    source: int = -1

    @property
    def key(self) -> str:
        return f"topic:{self.name}"

    @property
    def level(self) -> Level:
        if self.offline or self.under_min_isr:
            return "bad"
        return "warn" if self.under_replicated else "good"


class GroupRow(base.Row, frozen=True, tag="group"):
    group_id: str
    state: str = ""
    """Kafka's name; pages show ``state_words``."""
    protocol_type: str = ""
    protocol: str = ""
    """What the members agreed on; of type ``consumer``: the assignor of the server."""
    type: str = "classic"
    """``classic`` or ``consumer`` (KIP-848)."""
    generation: int = -1
    """The group epoch in a group of type ``consumer``; -1 when nobody ever joined."""
    assignment_epoch: int = -1
    """Of type ``consumer``: the epoch its targets were made for; below ``generation`` new ones are due."""
    coordinator: int = -1
    member_count: int = 0
    rebalances: int = 0
    last_rebalance_reason: str = ""
    state_since_ms: int = -1
    topics: list[str] = []
    partition_count: int = 0
    """Partitions with a committed offset or an owner."""
    lag: int | None = None
    """Sum of the known ones."""
    lag_unknown: int = 0
    """Partitions whose lag is not known."""
    behind_since_ms: int = -1
    """Timestamp of the oldest record some member still has to read; -1 when caught up or unknown."""
    time_lag_known: bool = False
    verdict: str = ""
    """One word: see ``dashboard.collector.verdicts``."""
    verdict_text: str = ""
    level: Level = "unknown"
    source: int = -1

    @property
    def key(self) -> str:
        return f"group:{self.group_id}"


class TopicGroupRow(base.Row, frozen=True, tag="topic-group"):
    """One group as the page of one topic shows it."""

    group_id: str
    state: str = ""
    lag: int | None = None
    lag_unknown: int = 0
    behind_since_ms: int = -1
    time_lag_known: bool = False
    members: int = 0
    """Members that own a partition of this topic."""
    verdict: str = ""
    level: Level = "unknown"
    source: int = -1

    @property
    def key(self) -> str:
        return f"group:{self.group_id}"


class MemberRow(base.Row, frozen=True, tag="member"):
    member_id: str
    client_id: str = ""
    host: str = ""
    instance_id: str = ""
    session_timeout_ms: int = 0
    last_heartbeat_ms: int = -1
    is_leader: bool = False
    assignment: list[tuple[str, list[int]]] = []
    """(topic, its partitions), both sorted."""
    protocol: str = "classic"
    """``classic`` or ``consumer``: the one this member speaks, whatever the type of its group."""
    epoch: int = -1
    """In a group of type ``consumer``: how far it has followed its group; -2 while a static member is away."""
    state: str = ""
    coming: list[tuple[str, list[int]]] = []
    """Partitions it is to have and does not have yet."""
    leaving: list[tuple[str, list[int]]] = []
    """Partitions it has, or may still be reading, and is to give up."""
    topics: list[str] = []
    topic_regex: str = ""
    rack: str = ""
    lag: int | None = None
    source: int = -1

    @property
    def key(self) -> str:
        return f"member:{self.member_id}"

    @property
    def partition_count(self) -> int:
        return sum(len(partitions) for _, partitions in self.assignment)


class OffsetRow(base.Row, frozen=True, tag="offset"):
    topic: str
    partition: int
    committed: int = -1
    log_start_offset: int = -1
    end: int = -1
    """High watermark: the offset a reader that is caught up has committed."""
    lag: int | None = None
    behind_since_ms: int = -1
    time_lag_known: bool = False
    committed_at_ms: int = -1
    owner: str = ""
    """Member id; empty when no member owns the partition."""
    owner_client: str = ""
    source: int = -1

    @property
    def key(self) -> str:
        return f"offset:{self.topic}:{self.partition:06d}"


class AlertRow(base.Row, frozen=True, tag="alert"):
    name: str
    """Stable: the same trouble keeps the same name while it lasts."""
    level: Literal["warn", "bad"] = "warn"
    title: str = ""
    text: str = ""
    since_ms: int = -1
    link: str = ""
    """``topic:<name>``, ``group:<id>``, ``broker:<id>``, or the name of a page; pages turn it into an address."""

    @property
    def key(self) -> str:
        return f"alert:{self.name}"


Row: TypeAlias = (
    HeadRow
    | BrokerRow
    | TopicRow
    | PartitionRow
    | GroupRow
    | TopicGroupRow
    | MemberRow
    | OffsetRow
    | AlertRow
    | ReplicationRow
    | LinkRow
    | ReplicaRow
    | EventRow
    | ControllerRow
)
Rows: TypeAlias = dict[str, Row]


class Pulse(msgspec.Struct, frozen=True, omit_defaults=True):
    """How fresh everything is: sent with every frame, so silence is always visible."""

    made_at_ms: int = 0
    """The collector's wall clock."""
    sampled: dict[int, int] = {}
    """Broker id → wall clock of its last sample."""
    offline: list[int] = []
    """Brokers that do not answer: what they said last is stale."""


class ScopeState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A scope as of ``seq``: what a page is rendered from and what deltas are applied to."""

    seq: int = 0
    rows: Rows = {}


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """A delta of one scope. It applies to any state with ``prev <= state.seq < seq``."""

    scope: str
    prev: int
    seq: int
    pulse: Pulse
    set: Rows = {}
    removed: list[str] = []
    points: dict[str, list[list[float | None]]] = {}
    """History points since the previous frame, by series: charts are sent numbers, not markup."""
    version: int = PROTOCOL_VERSION


_state_encoder = msgspec.msgpack.Encoder()
_scope_decoder = msgspec.msgpack.Decoder(ScopeState)
_pulse_decoder = msgspec.msgpack.Decoder(Pulse)
_frame_decoder = msgspec.msgpack.Decoder(Frame)
_point_decoder = msgspec.msgpack.Decoder(list[float | None])


def encode(value: ScopeState | Frame | Pulse | list[float | None]) -> bytes:
    return _state_encoder.encode(value)


def decode_scope(data: bytes) -> ScopeState:
    return _scope_decoder.decode(data)


def decode_pulse(data: bytes) -> Pulse:
    return _pulse_decoder.decode(data)


def decode_frame(data: bytes) -> Frame:
    return _frame_decoder.decode(data)


def decode_point(data: bytes) -> list[float | None]:
    return _point_decoder.decode(data)
