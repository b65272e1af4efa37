"""All brokers' mirrors merged into the rows the pages show. Pure but for what it remembers.

``fold`` and ``silent`` take what brokers say or stop saying; ``derive`` turns what changed since the last call into
scopes of rows. The work follows what moved: an idle partition costs nothing after its second sample.

Several brokers may speak about the same partition or group. The one that leads (coordinates) it counts; while none
does, the newest leader epoch known counts, and the row keeps the name of its source so that a page can say it is stale.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.telemetry.sample import GroupSample, PartitionSample, Sample, TopicSample
from dashboard.collector.groups import GroupView, view_group
from dashboard.collector.mirror import BrokerMirror, PartitionKey, Touched
from dashboard.collector.rates import Meter
from dashboard.collector.verdicts import Progress
from dashboard.live.state import (
    BrokerRow,
    GroupRow,
    PartitionRow,
    Rows,
    TopicGroupRow,
    TopicRow,
    group_scope,
    topic_scope,
)


@dataclass(slots=True, kw_only=True)
class _Known:
    """One configured broker: its mirror, its meters, and whether it answers."""

    mirror: BrokerMirror
    meter: Meter = field(default_factory=Meter)
    online: bool = False
    silent_since_ms: int = -1
    trouble: str = ""


@dataclass(slots=True)
class _PartitionMeter:
    meter: Meter
    source: int
    incarnation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What one ``derive`` changed: details of changed topics and groups, and the names of those that are gone."""

    details: dict[str, Rows]
    gone: list[str]
    topics_changed: bool
    groups_changed: bool


class ClusterModel:
    def __init__(self) -> None:
        self.brokers: dict[int, BrokerRow] = {}
        self.topics: dict[str, TopicRow] = {}
        self.partitions: dict[str, dict[int, PartitionRow]] = {}
        self.groups: dict[str, GroupView] = {}
        self.cluster_id = ""
        self.controller_id = -1
        self._known: dict[int, _Known] = {}
        self._meters: dict[PartitionKey, _PartitionMeter] = {}
        self._busy: set[PartitionKey] = set()
        """Partitions whose meter has to be read again although their broker may not mention them."""
        self._progress: dict[str, Progress] = {}
        self._touched = Touched()
        self._configs: dict[str, TopicSample] = {}
        self._copies = (Counter[int](), Counter[int](), Counter[int]())
        self._readers: dict[str, set[str]] = {}
        """Topic → groups with an offset on it or a partition of it."""

    # What brokers say ------------------------------------------------------------------------------

    def fold(self, broker_id: int, sample: Sample) -> None:
        """Take one sample. Raises ``SampleGap`` when a full one is needed first."""
        known = self._known.setdefault(broker_id, _Known(mirror=BrokerMirror(broker_id)))
        restarted = sample.incarnation != known.mirror.incarnation
        touched = known.mirror.fold(sample)
        if restarted:
            known.meter.reset()
        came_back = not known.online
        known.online, known.trouble, known.silent_since_ms = True, "", -1
        known.meter.read(sample.sampled_at_ms, _broker_totals(sample))
        self._touched.merge(touched)
        if came_back:
            self._touch_everything()
        self._touched.partitions |= {key for key in self._busy if self._meters[key].source == broker_id}

    def silent(self, broker_id: int, *, since_ms: int, trouble: str) -> None:
        """The broker does not answer. Its last words stay, marked as such."""
        known = self._known.setdefault(broker_id, _Known(mirror=BrokerMirror(broker_id)))
        if known.online:
            # Others may lead its partitions now; rates it can no longer tell are unknown, not what they were.
            known.meter.reset()
            for _key, meter in self._meters.items():
                if meter.source == broker_id:
                    meter.meter.reset()
            self._touch_everything()
        known.online, known.silent_since_ms, known.trouble = False, since_ms, trouble

    def _touch_everything(self) -> None:
        """Who answers decides whom to believe, about everybody's partitions and groups."""
        for known in self._known.values():
            self._touched.merge(known.mirror.everything())

    @property
    def sampled(self) -> dict[int, int]:
        return {broker_id: known.mirror.sampled_at_ms for broker_id, known in self._known.items()}

    @property
    def offline(self) -> list[int]:
        return sorted(broker_id for broker_id, known in self._known.items() if not known.online)

    # What pages see --------------------------------------------------------------------------------

    def derive(self) -> Derived:
        """Bring every row up to date with what was folded since the last call."""
        touched, self._touched = self._touched, Touched()
        self._derive_identity()
        self._derive_configs(touched.topics)
        changed_topics = self._derive_partitions(touched.partitions) | touched.topics
        regroup = set(touched.groups) | self._unsettled()
        for topic in changed_topics:
            regroup |= self._readers.get(topic, set())
        group_topics = self._derive_groups(regroup)
        gone = [topic_scope(name) for name in self._derive_topics(changed_topics | group_topics)]
        gone += [group_scope(group_id) for group_id in regroup if group_id not in self.groups]
        if changed_topics:
            self._count_copies()
        self._derive_brokers()
        return Derived(
            details=self._details(changed_topics | group_topics, regroup),
            gone=gone,
            topics_changed=bool(changed_topics | group_topics),
            groups_changed=bool(regroup),
        )

    def _speakers(self) -> list[BrokerMirror]:
        """Mirrors to believe: those that answer, or all when none does."""
        online = [known.mirror for known in self._known.values() if known.online]
        return online or [known.mirror for known in self._known.values()]

    def _derive_identity(self) -> None:
        for mirror in self._speakers():
            self.cluster_id = mirror.cluster_id or self.cluster_id
            if mirror.broker.is_controller:
                self.controller_id = mirror.broker_id
                return
            if mirror.controller_id >= 0:
                self.controller_id = mirror.controller_id

    def _derive_configs(self, names: Iterable[str]) -> None:
        for name in names:
            sample = next((m.topics[name] for m in self._speakers() if name in m.topics), None)
            if sample is None:
                self._configs.pop(name, None)
            else:
                self._configs[name] = sample

    def _derive_partitions(self, keys: set[PartitionKey]) -> set[str]:
        changed: set[str] = set()
        for key in keys:
            topic, partition = key
            spoken = self._partition_sample(key)
            if spoken is None:
                self._meters.pop(key, None)
                self._busy.discard(key)
                if self.partitions.get(topic, {}).pop(partition, None) is not None:
                    changed.add(topic)
                continue
            source, sample = spoken
            rows = self.partitions.setdefault(topic, {})
            row = _partition_row(
                sample,
                source,
                self._read_meter(key, source, sample),
                self._out_of_reach(source),
                held_since_ms=_held_since(sample, rows.get(partition), self._known[source].mirror.sampled_at_ms),
            )
            if rows.get(partition) != row:
                rows[partition] = row
                changed.add(topic)
        return changed

    def _partition_sample(self, key: PartitionKey) -> tuple[int, PartitionSample] | None:
        """(who says it, what): the leader's own words first, else the newest leader epoch anyone knows.

        A partition only a silent broker has is still there while its topic is; it is what was told last.
        """
        if key[0] not in self._configs:
            return None
        for mirrors in (self._speakers(), [known.mirror for known in self._known.values()]):
            spoken = [(mirror.broker_id, mirror.partitions[key]) for mirror in mirrors if key in mirror.partitions]
            if spoken:
                return max(spoken, key=lambda pair: (pair[1].leader_epoch, pair[1].leader == pair[0], -pair[0]))
        return None

    def _out_of_reach(self, source: int) -> str:
        """Why a partition only ``source`` has cannot be used, while others answer."""
        if self._known[source].online or not any(known.online for known in self._known.values()):
            return ""
        return f"Broker {source}, the only one that has it, does not answer."

    def _read_meter(self, key: PartitionKey, source: int, sample: PartitionSample) -> Meter:
        known = self._known[source]
        meter = self._meters.get(key)
        if meter is None or (meter.source, meter.incarnation) != (source, known.mirror.incarnation):
            meter = self._meters[key] = _PartitionMeter(Meter(), source, known.mirror.incarnation)
        if known.online:
            totals = (float(sample.bytes_in_total), float(sample.bytes_out_total), float(sample.records_in_total))
            meter.meter.read(known.mirror.sampled_at_ms, totals)
        if meter.meter.idle:
            self._busy.discard(key)
        else:
            self._busy.add(key)
        return meter.meter

    def _unsettled(self) -> set[str]:
        return {group_id for group_id, progress in self._progress.items() if not progress.settled}

    def _derive_groups(self, group_ids: set[str]) -> set[str]:
        """Rebuild these groups; returns the topics whose readers may have changed."""
        topics: set[str] = set()
        for group_id in group_ids:
            was = self.groups.get(group_id)
            spoken = self._group_sample(group_id)
            if spoken is None:
                self.groups.pop(group_id, None)
                self._progress.pop(group_id, None)
                now: GroupView | None = None
            else:
                source, sample = spoken
                now = self.groups[group_id] = view_group(
                    sample,
                    source=source,
                    answering=self._known[source].online,
                    find_partition=self._find_partition,
                    progress=self._progress.setdefault(group_id, Progress()),
                    # The clock of the one who speaks: while it is silent its groups' windows stand still.
                    now_ms=self._known[source].mirror.sampled_at_ms,
                )
            if was == now:
                continue
            for topic in was.row.topics if was is not None else ():
                self._readers.get(topic, set()).discard(group_id)
                topics.add(topic)
            for topic in now.row.topics if now is not None else ():
                self._readers.setdefault(topic, set()).add(group_id)
                topics.add(topic)
        return topics

    def _group_sample(self, group_id: str) -> tuple[int, GroupSample] | None:
        for mirrors in (self._speakers(), [known.mirror for known in self._known.values()]):
            spoken = [(mirror.broker_id, mirror.groups[group_id]) for mirror in mirrors if group_id in mirror.groups]
            if spoken:
                return max(spoken, key=lambda pair: (pair[1].coordinator == pair[0], pair[1].generation, -pair[0]))
        return None

    def _find_partition(self, topic: str, partition: int) -> PartitionRow | None:
        return self.partitions.get(topic, {}).get(partition)

    def _derive_topics(self, names: set[str]) -> list[str]:
        """Rebuild the topics' rows; returns the names that are gone."""
        gone = []
        for name in names:
            sample = self._configs.get(name)
            if sample is None:
                self.partitions.pop(name, None)
                if not self._readers.get(name):
                    self._readers.pop(name, None)
                if self.topics.pop(name, None) is not None:
                    gone.append(name)
                continue
            rows = self.partitions.get(name, {})
            lags = [(view.lag or 0, view.group_id) for view in self._topic_groups(name) if view.lag is not None]
            worst = max(lags, default=None)
            self.topics[name] = _topic_row(sample, list(rows.values()), len(self._readers.get(name, ())), worst)
        return gone

    def _topic_groups(self, name: str) -> list[TopicGroupRow]:
        return [self.groups[group_id].on_topic(name) for group_id in sorted(self._readers.get(name, ()))]

    def _count_copies(self) -> None:
        """Per broker: partitions it leads, copies it keeps, bytes it told. Only when some partition changed."""
        leads, copies, sizes = Counter[int](), Counter[int](), Counter[int]()
        for rows in self.partitions.values():
            for row in rows.values():
                leads[row.leader] += 1
                copies.update(row.replicas)
                sizes[row.source] += row.size_bytes or 0
        self._copies = (leads, copies, sizes)

    def _derive_brokers(self) -> None:
        leads, copies, sizes = self._copies
        self.brokers = {
            broker_id: _broker_row(
                known,
                is_controller=broker_id == self.controller_id,
                leaders=leads[broker_id],
                replicas=copies[broker_id],
                size_bytes=sizes[broker_id],
            )
            for broker_id, known in sorted(self._known.items())
        }

    def _details(self, topics: set[str], groups: set[str]) -> dict[str, Rows]:
        details: dict[str, Rows] = {}
        for name in topics:
            if name in self.topics:
                details[topic_scope(name)] = self.topic_detail(name)
        for group_id in groups:
            if group_id in self.groups:
                details[group_scope(group_id)] = self.groups[group_id].detail()
        return details

    def topic_detail(self, name: str) -> Rows:
        rows: Rows = {"topic": self.topics[name]}
        rows.update((row.key, row) for row in self.partitions.get(name, {}).values())
        rows.update((row.key, row) for row in self._topic_groups(name))
        return rows

    def topic_rows(self) -> Rows:
        return {row.key: row for row in self.topics.values()}

    def group_rows(self) -> Rows:
        return {view.row.key: view.row for view in self.groups.values()}

    def group_list(self) -> list[GroupRow]:
        return [view.row for view in self.groups.values()]


def _broker_totals(sample: Sample) -> tuple[float, ...]:
    broker = sample.broker
    return (
        float(broker.bytes_in_total),
        float(broker.bytes_out_total),
        float(broker.records_in_total),
        float(broker.requests_total),
        broker.cpu_seconds,
    )


def _broker_row(known: _Known, *, is_controller: bool, leaders: int, replicas: int, size_bytes: int) -> BrokerRow:
    broker, meter, online = known.mirror.broker, known.meter, known.online
    cpu = meter.rate(4) if online else None
    return BrokerRow(
        id=known.mirror.broker_id,
        host=broker.host,
        port=broker.port,
        rack=broker.rack,
        is_controller=is_controller,
        online=online,
        silent_since_ms=known.silent_since_ms,
        trouble=known.trouble,
        started_at_ms=broker.started_at_ms or -1,
        cpu_percent=round(cpu * 100, 1) if cpu is not None else None,
        rss_bytes=(broker.rss_bytes or None) if online else None,
        connections=broker.connections if online else None,
        request_rate=meter.rate(3) if online else None,
        bytes_in_rate=meter.rate(0) if online else None,
        bytes_out_rate=meter.rate(1) if online else None,
        records_in_rate=meter.rate(2) if online else None,
        leaders=leaders,
        replicas=replicas,
        size_bytes=size_bytes,
        disk_free_bytes=broker.disk_free_bytes,
        disk_total_bytes=broker.disk_total_bytes,
        log_dir=broker.log_dir,
        ack_durability=broker.ack_durability,
        produce_refused_reason=broker.produce_refused_reason,
        offline_log_dir_reason=broker.offline_log_dir_reason,
    )


def _held_since(sample: PartitionSample, was: PartitionRow | None, now_ms: int) -> int:
    """Since when readers of committed records have stood at the same offset below the high watermark; -1: they do not."""
    if not 0 <= sample.last_stable_offset < sample.high_watermark:
        return -1
    stands = was is not None and was.held_since_ms >= 0 and was.last_stable_offset == sample.last_stable_offset
    return was.held_since_ms if was is not None and stands else now_ms


def _partition_row(
    sample: PartitionSample, source: int, meter: Meter, out_of_reach: str, *, held_since_ms: int
) -> PartitionRow:
    return PartitionRow(
        topic=sample.topic,
        partition=sample.partition,
        leader=sample.leader,
        leader_epoch=sample.leader_epoch,
        replicas=sample.replicas,
        isr=sample.isr,
        log_start_offset=sample.log_start_offset,
        high_watermark=sample.high_watermark,
        last_stable_offset=sample.last_stable_offset,
        held_since_ms=held_since_ms,
        log_end_offset=sample.log_end_offset,
        flushed_offset=sample.flushed_offset,
        size_bytes=sample.size_bytes,
        segment_count=sample.segment_count,
        bytes_in_rate=meter.rate(0),
        bytes_out_rate=meter.rate(1),
        records_in_rate=meter.rate(2),
        last_record_ms=sample.last_record_ms,
        producers=sample.producers,
        offline_reason=sample.offline_reason or out_of_reach,
        source=source,
    )


def _topic_row(
    sample: TopicSample, rows: list[PartitionRow], group_count: int, worst: tuple[int, str] | None
) -> TopicRow:
    records = [row.records for row in rows]
    held = [row for row in rows if row.held_since_ms >= 0]
    return TopicRow(
        name=sample.name,
        topic_id=sample.topic_id,
        internal=sample.internal,
        partition_count=sample.partition_count,
        replication_factor=sample.replication_factor,
        size_bytes=sum(row.size_bytes or 0 for row in rows) if rows else None,
        records=sum(count for count in records if count is not None) if rows and None not in records else None,
        bytes_in_rate=_sum(row.bytes_in_rate for row in rows),
        bytes_out_rate=_sum(row.bytes_out_rate for row in rows),
        records_in_rate=_sum(row.records_in_rate for row in rows),
        last_record_ms=max((row.last_record_ms for row in rows), default=-1),
        producers=sum(row.producers for row in rows),
        offline=sum(row.level == "bad" for row in rows),
        offline_reason=next((row.offline_reason for row in rows if row.offline_reason), ""),
        under_replicated=sum(row.level == "warn" for row in rows),
        held=len(held),
        held_records=sum(row.held_records for row in held),
        held_since_ms=min((row.held_since_ms for row in held), default=-1),
        group_count=group_count,
        worst_group=worst[1] if worst is not None else "",
        worst_lag=worst[0] if worst is not None else None,
        cleanup_policy=sample.configs.get("cleanup.policy", ""),
        source=rows[0].source if rows else -1,
    )


def _sum(rates: Iterable[float | None]) -> float | None:
    """Of the known ones; unknown when none is."""
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
