"""What a broker knows about its cluster: an immutable image, folded from committed changes.

Owns: the fold from store commits to images, and the difference of two images. Every broker folds the same commits in
the same order, so two brokers at one revision hold the same image. Nobody changes an image; a topic that a commit
did not touch is the same object before and after, which is what makes ``ImageDelta`` cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from broker.cluster import records
from broker.metadata.store import Commit, Entry
from broker.types import INTERNAL_TOPICS, NO_EPOCH, NO_LEADER, BrokerId, LeaderEpoch, TopicId, parse_topic_id


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerImage:
    id: BrokerId
    host: str
    port: int
    internal_host: str
    internal_port: int
    rack: str | None
    incarnation: str
    epoch: int = -1
    """Kafka's broker epoch: the revision of this registration."""
    data_intact: bool = True
    """Whether everything its logs had acknowledged before it registered is still there."""
    lost: frozenset[str] = frozenset()
    """Its replicas that are gone or damaged, as ``records.replica_name``; ``EVERY_REPLICA`` for all."""
    registered_at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerState:
    """What is remembered of a broker, whether it lives or not."""

    state: str = "active"
    """``active``, ``draining`` or ``decommissioned``."""
    since_ms: int = 0
    host: str = ""
    port: int = -1
    rack: str | None = None
    left_at_ms: int = -1
    """When its last registration ended; -1 while it is alive."""
    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionImage:
    leader: BrokerId
    """-1 when no in-sync replica is alive."""
    leader_epoch: LeaderEpoch
    isr: tuple[BrokerId, ...]
    """A subset of ``replicas``; never empty. While there is no leader: who was in sync last."""
    replicas: tuple[BrokerId, ...]
    """The first is the preferred leader."""
    partition_epoch: int
    elr: tuple[BrokerId, ...] = ()
    """Eligible leader replicas (KIP-966): outside the ISR, and they have everything below the high watermark."""
    last_known_leader: BrokerId = NO_LEADER
    """Who led last, while nobody leads."""
    adding: tuple[BrokerId, ...] = ()
    removing: tuple[BrokerId, ...] = ()
    """A reassignment under way: the parts of ``replicas`` that come and go."""
    cause: str = ""
    """Why it changed last, as a short code."""
    changed_at_ms: int = 0
    unclean_epoch: LeaderEpoch = NO_EPOCH
    """Of the last election that may have lost acknowledged records; -1: there was none."""
    unclean_at_ms: int = 0
    version: int = field(default=0, compare=False)
    """Of the record in the store, for compare-and-set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicImage:
    name: str
    topic_id: TopicId
    partitions: tuple[PartitionImage, ...]
    configs: Mapping[str, str]
    """The topic's own overrides only."""
    created_at_ms: int = 0
    version: int = field(default=0, compare=False)

    @property
    def internal(self) -> bool:
        return self.name in INTERNAL_TOPICS

    @property
    def replication_factor(self) -> int:
        return len(self.partitions[0].replicas)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterImage:
    revision: int = 0
    cluster_id: str = ""
    brokers: Mapping[BrokerId, BrokerImage] = field(default_factory=dict)
    """The live ones, by id in ascending order."""
    incarnations: Mapping[BrokerId, str] = field(default_factory=dict)
    stopping: frozenset[BrokerId] = frozenset()
    """Live ones that are about to stop and want to be relieved."""
    topics_by_name: Mapping[str, TopicImage] = field(default_factory=dict)
    topics_by_id: Mapping[TopicId, TopicImage] = field(default_factory=dict)
    controller_id: BrokerId = NO_LEADER
    controller_epoch: int = NO_EPOCH
    controller_epoch_version: int = 0
    controller_since_ms: int = 0
    controller_history: tuple[records.ControllerElection, ...] = ()
    """The last elections, oldest first."""
    brokers_state: Mapping[BrokerId, BrokerState] = field(default_factory=dict)
    """Every broker that ever registered and was not forgotten."""
    broker_configs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Dynamic configs by broker id as text; ``""`` holds those of all brokers."""
    broker_configs_versions: Mapping[str, int] = field(default_factory=dict)
    group_configs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Group id → its own overrides; see ``config/group.py``. A group without any is not listed."""
    group_configs_versions: Mapping[str, int] = field(default_factory=dict)
    client_metrics_configs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Client-metrics subscriptions by name; see ``config/client_metrics.py``."""
    client_metrics_configs_versions: Mapping[str, int] = field(default_factory=dict)

    def partition(self, topic: str, index: int) -> PartitionImage | None:
        found = self.topics_by_name.get(topic)
        return found.partitions[index] if found is not None and 0 <= index < len(found.partitions) else None

    def is_settled(self, broker_id: BrokerId) -> bool:
        """Whether the controller has processed the broker's present registration.

        Until then the leader epochs of its partitions are those of its former life: it must not lead.
        """
        broker = self.brokers.get(broker_id)
        return broker is not None and self.incarnations.get(broker_id) == broker.incarnation


EMPTY_IMAGE = ClusterImage()


@dataclass(frozen=True, kw_only=True)
class ImageDelta:
    """What changed from ``old`` to ``new``. A topic deleted and made again is one deleted and one created."""

    old: ClusterImage
    new: ClusterImage

    @cached_property
    def created_topics(self) -> tuple[TopicImage, ...]:
        return tuple(topic for topic in self._touched() if topic.topic_id not in self.old.topics_by_id)

    @cached_property
    def deleted_topics(self) -> tuple[TopicImage, ...]:
        if self.old.topics_by_id is self.new.topics_by_id:
            return ()
        return tuple(t for topic_id, t in self.old.topics_by_id.items() if topic_id not in self.new.topics_by_id)

    @cached_property
    def changed_topics(self) -> tuple[tuple[TopicImage, TopicImage], ...]:
        """(before, after) of topics with other configs, more partitions, or another leader, epoch or ISR."""
        pairs = ((self.old.topics_by_id.get(topic.topic_id), topic) for topic in self._touched())
        return tuple((before, after) for before, after in pairs if before is not None and before != after)

    @property
    def brokers_changed(self) -> bool:
        return self.old.brokers != self.new.brokers or self.old.incarnations != self.new.incarnations

    @property
    def broker_uses_changed(self) -> bool:
        """Who is draining, decommissioned or about to stop."""
        return self.old.brokers_state != self.new.brokers_state or self.old.stopping != self.new.stopping

    @property
    def broker_configs_changed(self) -> bool:
        return self.old.broker_configs != self.new.broker_configs

    @property
    def group_configs_changed(self) -> bool:
        return self.old.group_configs is not self.new.group_configs

    @property
    def client_metrics_changed(self) -> bool:
        return self.old.client_metrics_configs is not self.new.client_metrics_configs

    def _touched(self) -> Iterator[TopicImage]:
        if self.old.topics_by_id is self.new.topics_by_id:
            return
        for topic_id, topic in self.new.topics_by_id.items():
            if self.old.topics_by_id.get(topic_id) is not topic:
                yield topic


def fold(image: ClusterImage, commit: Commit) -> ClusterImage:
    """The image after ``commit``. Raises ``CorruptRecord`` if a value is not what its key promises."""
    topics = _TopicFold(image)
    changes: dict[str, object] = {"revision": commit.revision}
    brokers: dict[BrokerId, BrokerImage] | None = None
    incarnations: dict[BrokerId, str] | None = None
    states: dict[BrokerId, BrokerState] | None = None
    configs = _ConfigsFold(image)

    for key, entry in _changes(commit):
        if key.startswith(records.PARTITIONS):
            topics.partition(key, entry)
        elif key.startswith(records.TOPICS):
            topics.topic(key, entry)
        elif key.startswith(records.BROKERS):
            brokers = dict(image.brokers) if brokers is None else brokers
            _fold_broker(brokers, key, entry)
        elif key.startswith(records.INCARNATIONS):
            incarnations = dict(image.incarnations) if incarnations is None else incarnations
            _fold_incarnation(incarnations, key, entry)
        elif key.startswith(records.STOPPING):
            stopping = changes.get("stopping", image.stopping)
            assert isinstance(stopping, frozenset)
            broker_id = int(key.removeprefix(records.STOPPING))
            changes["stopping"] = stopping - {broker_id} if entry is None else stopping | {broker_id}
        elif key.startswith(records.BROKERS_STATE):
            states = dict(image.brokers_state) if states is None else states
            _fold_broker_state(states, key, entry)
        elif key.startswith(records.CONFIGS):
            configs.resource(key, entry)
        else:
            changes.update(_fold_singleton(key, entry))

    if brokers is not None:
        changes["brokers"] = dict(sorted(brokers.items()))
    if incarnations is not None:
        changes["incarnations"] = incarnations
    if states is not None:
        changes["brokers_state"] = dict(sorted(states.items()))
    changes.update(configs.changes)
    changes.update(topics.result())
    return replace(image, **changes)  # type: ignore[arg-type]


def _changes(commit: Commit) -> Iterator[tuple[str, Entry | None]]:
    """(key, entry or None for a deletion). Topics come before partitions, which refer to them."""
    for key in commit.deletes:
        yield key, None
    later = []
    for entry in commit.puts:
        if entry.key.startswith(records.PARTITIONS):
            later.append(entry)
        else:
            yield entry.key, entry
    for entry in later:
        yield entry.key, entry


def _fold_broker(brokers: dict[BrokerId, BrokerImage], key: str, entry: Entry | None) -> None:
    if entry is None:
        brokers.pop(int(key.removeprefix(records.BROKERS)), None)
        return
    record = records.decode(key, entry.value, records.BrokerRecord)
    brokers[record.id] = BrokerImage(
        id=record.id,
        host=record.host,
        port=record.port,
        internal_host=record.internal_host,
        internal_port=record.internal_port,
        rack=record.rack,
        incarnation=record.incarnation,
        epoch=entry.version,
        data_intact=record.data_intact,
        lost=frozenset(record.lost),
        registered_at_ms=record.registered_at_ms,
    )


def _fold_broker_state(states: dict[BrokerId, BrokerState], key: str, entry: Entry | None) -> None:
    broker_id = int(key.removeprefix(records.BROKERS_STATE))
    if entry is None:
        states.pop(broker_id, None)
        return
    record = records.decode(key, entry.value, records.BrokerStateRecord)
    states[broker_id] = BrokerState(
        state=record.state,
        since_ms=record.since_ms,
        host=record.host,
        port=record.port,
        rack=record.rack,
        left_at_ms=record.left_at_ms,
        version=entry.version,
    )


def _fold_incarnation(incarnations: dict[BrokerId, str], key: str, entry: Entry | None) -> None:
    broker_id = int(key.removeprefix(records.INCARNATIONS))
    if entry is None:
        incarnations.pop(broker_id, None)
    else:
        incarnations[broker_id] = records.decode(key, entry.value, records.IncarnationRecord).incarnation


def _fold_singleton(key: str, entry: Entry | None) -> dict[str, object]:
    match key:
        case records.CLUSTER if entry is not None:
            return {"cluster_id": records.decode(key, entry.value, records.ClusterRecord).cluster_id}
        case records.CONTROLLER if entry is None:
            return {"controller_id": NO_LEADER}
        case records.CONTROLLER if entry is not None:
            return {"controller_id": records.decode(key, entry.value, records.ControllerRecord).broker_id}
        case records.CONTROLLER_EPOCH if entry is not None:
            record = records.decode(key, entry.value, records.ControllerEpochRecord)
            return {
                "controller_epoch": record.epoch,
                "controller_epoch_version": entry.version,
                "controller_since_ms": record.elected_at_ms,
            }
        case records.CONTROLLER_HISTORY if entry is not None:
            history = records.decode(key, entry.value, records.ControllerHistoryRecord)
            return {"controller_history": tuple(history.elections)}
        case _:
            return {}  # not part of the image (producer ids), or of a newer version


_CONFIG_FIELDS = {
    records.BROKER_CONFIGS: "broker_configs",
    records.GROUP_CONFIGS: "group_configs",
    records.CLIENT_METRICS_CONFIGS: "client_metrics_configs",
}


class _ConfigsFold:
    """Folds the configs of brokers, groups and subscriptions into copies made on first need."""

    def __init__(self, image: ClusterImage) -> None:
        self._image = image
        self.changes: dict[str, dict[str, object]] = {}
        """Field of ``ClusterImage`` → its next value."""

    def resource(self, key: str, entry: Entry | None) -> None:
        prefix = key[: key.find("/", len(records.CONFIGS)) + 1]
        field_name = _CONFIG_FIELDS.get(prefix)
        if field_name is None:
            return  # of a newer version
        configs, versions = self._copy(field_name), self._copy(f"{field_name}_versions")
        name = key.removeprefix(prefix)
        if prefix == records.BROKER_CONFIGS and name == records.DEFAULT_BROKER:
            name = ""
        if entry is None:
            configs.pop(name, None)
            versions.pop(name, None)
        else:
            configs[name] = records.decode(key, entry.value, records.ResourceConfigsRecord).configs
            versions[name] = entry.version

    def _copy(self, field_name: str) -> dict[str, object]:
        if field_name not in self.changes:
            self.changes[field_name] = dict(getattr(self._image, field_name))
        return self.changes[field_name]


class _TopicFold:
    """Folds topics and partitions into copies made on first need; ``result`` is empty if none was touched."""

    def __init__(self, image: ClusterImage) -> None:
        self._image = image
        self._by_name: dict[str, TopicImage] | None = None
        self._records: dict[str, tuple[str, records.TopicRecord, int]] = {}
        """Topic id as text → (name, record, version) of topics written by this commit."""
        self._partitions: dict[str, dict[int, PartitionImage]] = {}
        """Topic id as text → partitions written by this commit."""

    def topic(self, key: str, entry: Entry | None) -> None:
        name = key.removeprefix(records.TOPICS)
        if entry is None:
            self._names().pop(name, None)
        else:
            record = records.decode(key, entry.value, records.TopicRecord)
            self._records[record.topic_id] = (name, record, entry.version)

    def partition(self, key: str, entry: Entry | None) -> None:
        if entry is None:
            return  # goes with its topic
        topic_id, index = records.parse_partition_key(key)
        record = records.decode(key, entry.value, records.PartitionRecord)
        self._partitions.setdefault(topic_id, {})[index] = PartitionImage(
            leader=record.leader,
            leader_epoch=record.leader_epoch,
            isr=tuple(record.isr),
            replicas=tuple(record.replicas),
            partition_epoch=record.partition_epoch,
            elr=tuple(record.elr),
            last_known_leader=record.last_known_leader,
            adding=tuple(record.adding),
            removing=tuple(record.removing),
            cause=record.cause,
            changed_at_ms=record.changed_at_ms,
            unclean_epoch=record.unclean_epoch,
            unclean_at_ms=record.unclean_at_ms,
            version=entry.version,
        )

    def result(self) -> dict[str, object]:
        for topic_id in {**self._records, **self._partitions}:  # in order: every broker has the same image
            self._rebuild(topic_id)
        if self._by_name is None:
            return {}
        by_name = self._by_name
        return {"topics_by_name": by_name, "topics_by_id": {topic.topic_id: topic for topic in by_name.values()}}

    def _rebuild(self, topic_id: str) -> None:
        before = self._image.topics_by_id.get(parse_topic_id(topic_id))
        if topic_id in self._records:
            name, record, version = self._records[topic_id]
            count, configs, created_at_ms = record.partition_count, record.configs, record.created_at_ms
        elif before is not None:
            name, version, configs = before.name, before.version, dict(before.configs)
            count, created_at_ms = len(before.partitions), before.created_at_ms
        else:
            raise records.CorruptRecord(f"partitions of a topic id {topic_id!r} that no topic has")
        partitions = dict(enumerate(before.partitions)) if before is not None else {}
        partitions.update(self._partitions.get(topic_id, {}))
        if partitions.keys() != set(range(count)):
            raise records.CorruptRecord(f"topic {name!r} has {count} partitions but records of {sorted(partitions)}")
        self._names()[name] = TopicImage(
            name=name,
            topic_id=parse_topic_id(topic_id),
            partitions=tuple(partitions[index] for index in range(count)),
            configs=configs,
            created_at_ms=created_at_ms,
            version=version,
        )

    def _names(self) -> dict[str, TopicImage]:
        if self._by_name is None:
            self._by_name = dict(self._image.topics_by_name)
        return self._by_name
