"""The rows about copies and who decides: partitions with their replicas, links between brokers, the controller, events.

Owns: their types and what can be told from one row alone (which replica is missing, whether it is at its limit). Numbers
follow the rules of ``dashboard.live.state``: ``None`` is unknown.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dashboard.live.base import Level, Row


class FollowerLag(msgspec.Struct, frozen=True, array_like=True):
    """How far one follower is, in its leader's words."""

    broker: int
    lag: int | None = None
    """Records the follower has still to fetch."""
    caught_up_ms: int = -1
    """When it last had everything, by the leader's clock; 0 while it has, -1 when it never had."""


class PartitionRow(Row, frozen=True, tag="partition"):
    topic: str
    partition: int
    leader: int = -1
    leader_epoch: int = -1
    partition_epoch: int = -1
    replicas: list[int] = []
    """The first is the preferred leader."""
    isr: list[int] = []
    elr: list[int] = []
    last_known_leader: int = -1
    adding: list[int] = []
    removing: list[int] = []
    min_isr: int | None = None
    cause: str = ""
    """Of the last change, as the controller wrote it; pages show ``change_cause``."""
    changed_at_ms: int = -1
    unclean_epoch: int = -1
    """The leader epoch of the last election that may have lost acknowledged records; -1: there was none."""
    unclean_at_ms: int = -1
    followers: list[FollowerLag] = []
    log_start_offset: int = -1
    high_watermark: int = -1
    last_stable_offset: int = -1
    """Where readers of committed records stop; -1 when it is not told."""
    held_since_ms: int = -1
    """Since when it has stood still below the high watermark; -1 while it does not."""
    log_end_offset: int = -1
    flushed_offset: int = -1
    size_bytes: int | None = None
    segment_count: int = 0
    bytes_in_rate: float | None = None
    bytes_out_rate: float | None = None
    records_in_rate: float | None = None
    last_record_ms: int = -1
    producers: int = 0
    offline_reason: str = ""
    source: int = -1

    @property
    def key(self) -> str:
        return f"partition:{self.partition:06d}"

    @property
    def name(self) -> str:
        return f"{self.topic}-{self.partition}"

    @property
    def placement(self) -> tuple[object, ...]:
        """Who leads, who is in sync, who keeps it: what every count over all partitions is made from."""
        return self.leader, self.isr, self.replicas, self.adding, self.removing, self.min_isr, self.offline

    @property
    def held_records(self) -> int:
        """Records that an open transaction keeps from readers of committed ones."""
        return max(0, self.high_watermark - self.last_stable_offset) if self.last_stable_offset >= 0 else 0

    @property
    def records(self) -> int | None:
        if self.high_watermark < 0 or self.log_start_offset < 0:
            return None
        return max(0, self.high_watermark - self.log_start_offset)

    @property
    def offline(self) -> bool:
        return bool(self.offline_reason) or self.leader < 0

    @property
    def reassigning(self) -> bool:
        return bool(self.adding or self.removing)

    @property
    def settled_replicas(self) -> list[int]:
        """Where it is meant to be: without those on their way, and with those that are to leave."""
        return [broker for broker in self.replicas if broker not in self.adding]

    @property
    def target_replicas(self) -> list[int]:
        """Where it is going to be."""
        return [broker for broker in self.replicas if broker not in self.removing]

    @property
    def missing(self) -> list[int]:
        """Replicas that are meant to be in sync and are not. One on its way here is expected to be behind."""
        return [broker for broker in self.settled_replicas if broker not in self.isr]

    @property
    def under_replicated(self) -> bool:
        return bool(self.missing)

    @property
    def required_in_sync(self) -> int | None:
        """How many replicas a write with acks=all needs; never more than there are."""
        return None if self.min_isr is None else min(self.min_isr, len(self.replicas))

    @property
    def under_min_isr(self) -> bool:
        required = self.required_in_sync
        return not self.offline and required is not None and len(self.isr) < required

    @property
    def at_min_isr(self) -> bool:
        """One more loss stops writes, although copies are meant to be spare."""
        return self.min_isr is not None and len(self.isr) == self.min_isr and len(self.settled_replicas) > self.min_isr

    @property
    def preferred_leader(self) -> int:
        return self.replicas[0] if self.replicas else -1

    @property
    def led_elsewhere(self) -> bool:
        """Led, but not by the replica that is meant to; nothing wrong, only uneven."""
        return self.leader >= 0 and self.leader != self.preferred_leader

    @property
    def had_unclean_election(self) -> bool:
        """Somebody led it without being known to have everything: what is missing since then does not come back."""
        return self.unclean_epoch >= 0

    @property
    def worst_lag(self) -> int | None:
        known = [one.lag for one in self.followers if one.lag is not None]
        return max(known, default=None)

    @property
    def level(self) -> Level:
        if self.offline or self.under_min_isr:
            return "bad"
        return "warn" if self.under_replicated else "good"

    @property
    def condition(self) -> str:
        """The worst thing to say about it, in two words; empty when there is none."""
        if self.offline:
            return "offline" if self.offline_reason else "no leader"
        if self.under_min_isr:
            return "refuses acks=all"
        if self.under_replicated:
            return "under-replicated"
        return "moving" if self.reassigning else ""


class LinkRow(Row, frozen=True, tag="link"):
    """All partitions that one broker leads and another follows: one cell of the matrix."""

    leader: int
    follower: int
    partitions: int = 0
    out_of_sync: int = 0
    joining: int = 0
    """Replicas that a reassignment brings there: expected to be behind."""
    lag: int | None = None
    """Records the follower has still to fetch, over all partitions; ``None`` when the leader tells of none."""
    lag_unknown: int = 0
    """Partitions whose lag is not told."""
    worst: str = ""
    """The partition with the largest lag, ``orders-3``."""
    worst_lag: int | None = None
    behind_since_ms: int = -1
    """When the follower of a partition that is out of sync last had everything: the earliest; -1 when none is behind."""

    @property
    def key(self) -> str:
        return f"link:{self.leader}:{self.follower}"


class ReplicationRow(Row, frozen=True, tag="replication"):
    """The replicas of the whole cluster in numbers."""

    KEY = "replication"

    partitions: int = 0
    single_copy: int = 0
    """Partitions that are meant to have one replica only."""
    under_replicated: int = 0
    under_min_isr: int = 0
    at_min_isr: int = 0
    offline: int = 0
    reassigning: int = 0
    led_elsewhere: int = 0
    """Partitions led by another broker than the preferred one although that is in sync."""
    unclean: int = 0
    """Partitions that ever had an election which may have lost acknowledged records."""
    lag: int | None = None
    listed: int = 0
    """How many of the partitions worth a look are in the scope; the rest is only counted."""
    worth_a_look: int = 0


class ReplicaRow(Row, frozen=True, tag="replica"):
    """One partition as one broker has it."""

    topic: str
    partition: int
    broker: int
    leader: int = -1
    preferred: bool = False
    in_sync: bool = False
    joining: bool = False
    leaving: bool = False
    in_sync_count: int = 0
    replica_count: int = 0
    min_isr: int | None = None
    lag: int | None = None
    """Of a follower, as its leader tells; 0 for the leader itself."""
    size_bytes: int | None = None
    log_end_offset: int = -1
    records_in_rate: float | None = None
    offline_reason: str = ""
    source: int = -1

    @property
    def key(self) -> str:
        return f"replica:{self.topic}:{self.partition:06d}"

    @property
    def leads(self) -> bool:
        return self.leader == self.broker

    @property
    def only_copy_in_sync(self) -> bool:
        return self.in_sync and self.in_sync_count == 1


EventKind = Literal["leader", "no leader", "isr", "replicas", "controller", "broker"]


class EventPlace(msgspec.Struct, frozen=True, array_like=True):
    """One partition of an event."""

    topic: str
    partition: int
    leader_epoch: int = -1


class EventRow(Row, frozen=True, tag="event"):
    """One change of who leads, who is in sync or who keeps what; the same change of many partitions is one event."""

    number: int
    kind: EventKind
    at_ms: int = -1
    cause: str = ""
    """The controller's code; empty when it was not told."""
    before: list[int] = []
    """Brokers: the leader before (or none), or who fell out of sync, or who kept it."""
    after: list[int] = []
    """The leader since, or who is in sync again, or who keeps it when the move is done."""
    count: int = 0
    """Partitions this happened to."""
    places: list[EventPlace] = []
    """The first of them."""
    epoch: int = -1
    """Of the controller, when it is about that."""

    @property
    def key(self) -> str:
        return f"event:{self.number:012d}"

    @property
    def lost(self) -> list[int]:
        return [broker for broker in self.before if broker not in self.after]

    @property
    def gained(self) -> list[int]:
        return [broker for broker in self.after if broker not in self.before]


class Election(msgspec.Struct, frozen=True, array_like=True):
    epoch: int
    broker: int
    at_ms: int = -1
    cause: str = ""


class ControllerRow(Row, frozen=True, tag="controller"):
    """Who decides, since when, and what is under way."""

    KEY = "controller"

    broker: int = -1
    epoch: int = -1
    elected_at_ms: int = -1
    elections: list[Election] = []
    """Newest first."""
    revision: int = -1
    """Of the metadata, as the broker knows that has seen most of it."""
    reassigning: int = 0
    draining: list[int] = []
    unsettled: list[int] = []
    """Brokers whose registration the controller has not acted on yet."""
    store: str = ""
    store_trouble: dict[int, str] = {}
    """Broker → why it cannot use the metadata store now."""
    source: int = -1
    """The broker that told it."""
