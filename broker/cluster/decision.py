"""What every decision of the control plane is made of: a request, results, one store transaction.

Pure: no store, no clock, no hidden randomness. The driver commits the transaction; nothing changes but by folding what was
committed (``image.py``), so a decision that loses a race leaves no trace and is simply made again on the newer image.

Two kinds of decision:

- *Admin requests* (``topic_admin.py``, ``config_admin.py``) may be decided by any broker. Their preconditions name
  everything they rely on: a topic that must be absent, the version of the record that is replaced.
- *Leadership* (``controller.py``) is decided by the controller only, whose epoch is a precondition of the write. A deposed
  controller therefore cannot write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from broker.cluster import records
from broker.cluster.image import ClusterImage, TopicImage
from broker.errors import ErrorCode, KafkaError
from broker.metadata.store import Absent, Precondition, Transaction, VersionIs
from broker.types import ZERO_TOPIC_ID, BrokerId, TopicId, format_topic_id


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTopic:
    name: str
    partition_count: int = -1
    """-1: the broker's ``num.partitions``."""
    replication_factor: int = -1
    assignments: Sequence[tuple[int, Sequence[BrokerId]]] = ()
    """Manual placement as (partition, replicas); the two counts must then be -1."""
    configs: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartitions:
    name: str
    total_count: int
    assignments: Sequence[Sequence[BrokerId]] | None = None
    """The replicas of each partition to be added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicResult:
    name: str | None
    topic_id: TopicId = ZERO_TOPIC_ID
    error: KafkaError | None = None
    partition_count: int = -1
    replication_factor: int = -1
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceResult:
    type: int
    name: str
    error: KafkaError | None = None


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[Result]):
    """``results`` in the order of the request. Nothing to commit when every item failed."""

    results: tuple[Result, ...]
    transaction: Transaction | None


@dataclass(slots=True)
class Batch:
    """Collects what the items of one request write."""

    preconditions: list[Precondition] = field(default_factory=list)
    puts: dict[str, bytes] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)
    _required: set[Precondition] = field(default_factory=set)

    def require(self, precondition: Precondition) -> None:
        """What many items rely on is asked for once."""
        if precondition not in self._required:
            self._required.add(precondition)
            self.preconditions.append(precondition)

    def transaction(self) -> Transaction | None:
        if not self.puts and not self.deletes:
            return None
        return Transaction(preconditions=self.preconditions, puts=self.puts, deletes=self.deletes)


def epoch_unchanged(image: ClusterImage) -> Precondition:
    """What every change of leaders and in-sync sets depends on: nobody else became controller since."""
    if image.controller_epoch_version == 0:
        return Absent(records.CONTROLLER_EPOCH)
    return VersionIs(records.CONTROLLER_EPOCH, image.controller_epoch_version)


def find_partition(image: ClusterImage, name: str, index: int) -> TopicImage:
    """The topic, which has that partition."""
    topic = image.topics_by_name.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {name}")
    if not 0 <= index < len(topic.partitions):
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {name}-{index}")
    return topic


def put_partition(
    batch: Batch, image: ClusterImage, topic: TopicImage, index: int, record: records.PartitionRecord
) -> None:
    """Replace a partition's record, if it is still the one the decision was made on.

    Who is eligible beside the in-sync set is so by ``min.insync.replicas``, which must not have changed either.
    """
    key = records.partition_key(format_topic_id(topic.topic_id), index)
    batch.require(VersionIs(key, topic.partitions[index].version))
    batch.puts[key] = records.encode(record)
    if record.elr:
        batch.require(VersionIs(records.topic_key(topic.name), topic.version))
        default_key, default = records.broker_configs_key(""), image.broker_configs_versions.get("")
        batch.require(Absent(default_key) if default is None else VersionIs(default_key, default))


Key = TypeVar("Key")


def named_twice(keys: Iterable[Key]) -> set[Key]:
    seen: set[Key] = set()
    twice: set[Key] = set()
    for key in keys:
        (twice if key in seen else seen).add(key)
    return twice


def topic_record(
    topic: TopicImage, *, partition_count: int | None = None, configs: Mapping[str, str] | None = None
) -> records.TopicRecord:
    return records.TopicRecord(
        topic_id=format_topic_id(topic.topic_id),
        partition_count=len(topic.partitions) if partition_count is None else partition_count,
        configs=dict(topic.configs if configs is None else configs),
        created_at_ms=topic.created_at_ms,
    )
