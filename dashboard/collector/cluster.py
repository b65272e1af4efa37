"""All brokers' mirrors merged into the rows the pages show. Pure but for what it remembers.

``fold`` and ``silent`` take what brokers say or stop saying; ``derive`` turns what changed since the last call into
scopes of rows. The work follows what moved: an idle partition costs nothing after its second sample.

Several brokers may speak about the same partition, group or controller: ``partitions.py`` and ``control.py`` say whom to believe,
and the row keeps the name of its source so that a page can say it is stale.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from broker.client.addresses import Address
from broker.telemetry.sample import (
    BrokerSample,
    GroupSample,
    PartitionSample,
    RegistrationSample,
    Sample,
    TopicSample,
)
from dashboard.collector.broker_rows import broker_detail, broker_row, replica_row
from dashboard.collector.control import ControlView, ControlVoice, controller_row, former_after, view_control
from dashboard.collector.events import EventBook
from dashboard.collector.groups import GroupView, view_group
from dashboard.collector.mirror import BrokerMirror, PartitionKey, Touched
from dashboard.collector.partitions import Believed, Spoken, believe, partition_row
from dashboard.collector.rates import Meter
from dashboard.collector.replication import Walk, walk
from dashboard.collector.topic_rows import topic_row
from dashboard.collector.verdicts import Progress
from dashboard.live.replication_rows import ControllerRow, PartitionRow
from dashboard.live.state import (
    BrokerRow,
    GroupRow,
    Rows,
    TopicGroupRow,
    TopicRow,
    broker_scope,
    group_scope,
    topic_scope,
)

WALK_MS = 1_000
"""Walking over all partitions waits for the next second's samples unless a leader, an in-sync set or a replica moved."""


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
    walked: bool
    """Whether the counts over all partitions, links and replicas were made anew."""


class ClusterModel:
    def __init__(self) -> None:
        self.brokers: dict[int, BrokerRow] = {}
        self.topics: dict[str, TopicRow] = {}
        self.partitions: dict[str, dict[int, PartitionRow]] = {}
        self.groups: dict[str, GroupView] = {}
        self.cluster_id = ""
        self.controller = ControllerRow()
        self.walk = Walk()
        self.events = EventBook()
        self._control = ControlView()
        self._known: dict[int, _Known] = {}
        self._former: dict[int, RegistrationSample] = {}
        """Brokers the metadata named once and have forgotten: they were taken out of the cluster."""
        self._meters: dict[PartitionKey, _PartitionMeter] = {}
        self._busy: set[PartitionKey] = set()
        """Partitions whose meter has to be read again although their broker may not mention them."""
        self._progress: dict[str, Progress] = {}
        self._touched = Touched()
        self._configs: dict[str, TopicSample] = {}
        self._moved = True
        """A leader, an in-sync set or a replica moved since the last walk."""
        self._news = False
        """Some partition's row changed since the last walk: an idle cluster costs no walk."""
        self._walked_at_ms = 0
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
        return {one: known.mirror.sampled_at_ms for one, known in self._known.items() if not self._is_retired(one)}

    @property
    def offline(self) -> list[int]:
        return sorted(one for one, known in self._known.items() if not known.online and not self._is_retired(one))

    def _is_retired(self, broker_id: int) -> bool:
        """Taken out of the cluster and silent: nobody waits for its word."""
        entry = self._registration(broker_id)
        return entry is not None and entry.state == "decommissioned" and not self._known[broker_id].online

    def _registration(self, broker_id: int) -> RegistrationSample | None:
        return self._control.registrations.get(broker_id) or self._former.get(broker_id)

    @property
    def addresses(self) -> dict[int, Address]:
        """The internal listener of every broker that is registered now, by the metadata's word."""
        return {
            entry.id: Address(entry.internal_host, entry.internal_port)
            for entry in self._control.registrations.values()
            if entry.live and entry.internal_host
        }

    @property
    def former(self) -> frozenset[int]:
        """Brokers the metadata have forgotten."""
        return frozenset(self._former)

    # What pages see --------------------------------------------------------------------------------

    def derive(self) -> Derived:
        """Bring every row up to date with what was folded since the last call."""
        touched, self._touched = self._touched, Touched()
        self._derive_control()
        self._derive_configs(touched.topics)
        changed_topics = self._derive_partitions(touched.partitions) | touched.topics
        regroup = set(touched.groups) | self._unsettled()
        for topic in changed_topics:
            regroup |= self._readers.get(topic, set())
        group_topics = self._derive_groups(regroup)
        gone = [topic_scope(name) for name in self._derive_topics(changed_topics | group_topics)]
        gone += [group_scope(group_id) for group_id in regroup if group_id not in self.groups]
        walked = self._walk_if_due()
        self._derive_brokers()
        self.controller = controller_row(self._control, self._voices(), reassigning=self.walk.head.reassigning)
        return Derived(
            details=self._details(changed_topics | group_topics, regroup),
            gone=gone,
            topics_changed=bool(changed_topics | group_topics),
            groups_changed=bool(regroup),
            walked=walked,
        )

    def _speakers(self) -> list[BrokerMirror]:
        """Mirrors to believe: those that answer, or all when none does."""
        online = [known.mirror for known in self._known.values() if known.online]
        return online or [known.mirror for known in self._known.values()]

    def _voices(self) -> list[ControlVoice]:
        return [
            ControlVoice(
                broker=broker_id,
                online=known.online,
                controller_id=known.mirror.controller_id,
                revision=known.mirror.revision,
                control=known.mirror.control,
                store=known.mirror.broker.store,
                store_trouble=known.mirror.broker.store_trouble,
            )
            for broker_id, known in self._known.items()
            if known.mirror.sampled_at_ms >= 0
        ]

    def _derive_control(self) -> None:
        was, self._control = self._control, view_control(self._voices())
        for mirror in self._speakers():
            self.cluster_id = mirror.cluster_id or self.cluster_id
        self.events.note_control(was, self._control, self._newest_ms())
        self._former = former_after(self._former, was, self._control, self._newest_ms())

    def _newest_ms(self) -> int:
        return max(self.sampled.values(), default=0)

    def _derive_configs(self, names: Iterable[str]) -> None:
        for name in names:
            knowing = [mirror for mirror in self._speakers() if name in mirror.topics]
            if not knowing:
                self._configs.pop(name, None)
            else:
                self._configs[name] = max(knowing, key=lambda m: (m.revision, -m.broker_id)).topics[name]

    def _derive_partitions(self, keys: set[PartitionKey]) -> set[str]:
        changed: set[str] = set()
        for key in keys:
            topic, partition = key
            believed = self._believe(key)
            if believed is None:
                self._meters.pop(key, None)
                self._busy.discard(key)
                if self.partitions.get(topic, {}).pop(partition, None) is not None:
                    self._moved = True
                    changed.add(topic)
                continue
            rows = self.partitions.setdefault(topic, {})
            was, row = rows.get(partition), self._partition_row(key, believed, rows.get(partition))
            if was != row:
                rows[partition] = row
                changed.add(topic)
                self._news = True
                self._moved = self._moved or was is None or was.placement != row.placement
                self.events.note(was, row, self._newest_ms())
        return changed

    def _partition_row(self, key: PartitionKey, believed: Believed, was: PartitionRow | None) -> PartitionRow:
        source, told = believed.source, believed.told
        min_isr = self._configs[key[0]].min_insync_replicas
        return partition_row(
            believed,
            self._read_meter(key, source, told),
            min_isr=min_isr if min_isr > 0 else None,
            out_of_reach=self._out_of_reach(source),
            held_since_ms=_held_since(told, was, self._known[source].mirror.sampled_at_ms),
            has_log=told.log_end_offset >= 0,
        )

    def _believe(self, key: PartitionKey) -> Believed | None:
        """A partition only a silent broker has is still there while its topic is; it is what was told last."""
        config = self._configs.get(key[0])
        if config is None:
            return None
        return believe(
            Spoken(broker=broker_id, online=known.online, sample=known.mirror.partitions[key])
            for broker_id, known in self._known.items()
            if key in known.mirror.partitions and known.mirror.knows_topic(config)
        )

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
                self._moved = self.partitions.pop(name, None) is not None or self._moved
                if not self._readers.get(name):
                    self._readers.pop(name, None)
                if self.topics.pop(name, None) is not None:
                    gone.append(name)
                continue
            rows = self.partitions.get(name, {})
            lags = [(view.lag or 0, view.group_id) for view in self._topic_groups(name) if view.lag is not None]
            worst = max(lags, default=None)
            self.topics[name] = topic_row(sample, list(rows.values()), len(self._readers.get(name, ())), worst)
        return gone

    def _topic_groups(self, name: str) -> list[TopicGroupRow]:
        return [self.groups[group_id].on_topic(name) for group_id in sorted(self._readers.get(name, ()))]

    def _walk_if_due(self) -> bool:
        now_ms = self._newest_ms()
        if not self._moved and not (self._news and now_ms - self._walked_at_ms >= WALK_MS):
            return False
        self._moved, self._news, self._walked_at_ms = False, False, now_ms
        self.walk = walk(row for rows in self.partitions.values() for row in rows.values())
        return True

    def _derive_brokers(self) -> None:
        """Every broker that was asked, that is registered or was, or that is meant to keep a replica; but for those that are being
        asked for the first time now, for they are neither up nor down."""
        registered = {**self._former, **self._control.registrations}
        asked_first = self.addresses.keys() - self._known.keys()
        ids = sorted({*self._known, *registered, *self.walk.brokers} - asked_first)
        counted = [one for one in ids if one not in registered or registered[one].live]
        replicas = sum(self.walk.counts(one).replicas for one in counted)
        led = sum(self.walk.counts(one).leaders for one in counted)
        unheard = _Known(mirror=BrokerMirror(-1), trouble="The collector has not heard it yet.")
        self.brokers = {}
        for broker_id in ids:
            known = self._known.get(broker_id, unheard)
            self.brokers[broker_id] = broker_row(
                known.mirror.broker if broker_id in self._known else BrokerSample(id=broker_id),
                known.meter,
                registered.get(broker_id),
                self.walk.counts(broker_id),
                is_controller=broker_id == self.controller_id,
                online=known.online,
                silent_since_ms=known.silent_since_ms,
                trouble=known.trouble,
                size_bytes=known.mirror.size_bytes,
                partitions=led,
                replicas=replicas,
                counted_brokers=len(counted),
            )

    @property
    def controller_id(self) -> int:
        return self._control.controller_id

    def broker_detail(self, broker_id: int) -> Rows:
        """The broker and every partition it is meant to keep."""
        known = self._known.get(broker_id)
        own = known.mirror.partitions if known is not None else {}
        return broker_detail(
            self.brokers[broker_id],
            (
                replica_row(row, broker_id, own.get((row.topic, row.partition)))
                for rows in self.partitions.values()
                for row in rows.values()
                if broker_id in row.replicas
            ),
        )

    def broker_details(self, watched: set[str] | None) -> dict[str, Rows]:
        """Of the watched brokers; ``None``: of all."""
        scopes = {broker_scope(broker_id): broker_id for broker_id in self.brokers}
        wanted = scopes.keys() if watched is None else scopes.keys() & watched
        return {scope: self.broker_detail(scopes[scope]) for scope in wanted}

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


def _held_since(sample: PartitionSample, was: PartitionRow | None, now_ms: int) -> int:
    """Since when readers of committed records have stood at the same offset below the high watermark; -1: they do not."""
    if not 0 <= sample.last_stable_offset < sample.high_watermark:
        return -1
    stands = was is not None and was.held_since_ms >= 0 and was.last_stable_offset == sample.last_stable_offset
    return was.held_since_ms if was is not None and stands else now_ms
