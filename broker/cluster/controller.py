"""The control plane's decisions: (image, request) → results and one store transaction.

Pure: no store, no clock, no hidden randomness. The driver commits the transaction; nothing changes but by folding what was
committed (``image.py``), so a decision that loses a race leaves no trace and is simply made again on the newer image.

Two kinds of decision:

- *Admin requests* may be decided by any broker. Their preconditions name everything they rely on: a topic that must be
  absent, the version of the record that is replaced.
- *Leadership* is decided by the controller only, whose epoch is a precondition of the write. A deposed controller
  therefore cannot write.

A partition's record changes only with a higher ``partition_epoch``, and its leader only with a higher ``leader_epoch``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from broker.cluster import records
from broker.cluster.config_changes import ResourceChange, ResourceType, changed_configs, check_request
from broker.cluster.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from broker.cluster.placement import place_replicas
from broker.cluster.topic_names import collision_key, refuse_topic_name
from broker.config.broker import BROKER_CONFIGS, BrokerConfig, validate_dynamic_broker_configs
from broker.config.definition import quoted
from broker.config.topic import TOPIC_CONFIGS, TopicConfig, validate_topic_configs
from broker.errors import ErrorCode, KafkaError
from broker.limits import PARTITIONS_PER_REQUEST_MAX, PARTITIONS_PER_TOPIC_MAX
from broker.metadata.store import Absent, Precondition, Transaction, VersionIs
from broker.types import NO_LEADER, ZERO_TOPIC_ID, BrokerId, TopicId, format_topic_id

CLUSTER_METADATA_TOPIC = "__cluster_metadata"


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
class TopicResult:
    name: str | None
    topic_id: TopicId = ZERO_TOPIC_ID
    error: KafkaError | None = None
    partition_count: int = -1
    replication_factor: int = -1
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartitions:
    name: str
    total_count: int
    assignments: Sequence[Sequence[BrokerId]] | None = None
    """The replicas of each partition to be added."""


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
class _Batch:
    """Collects what the items of one request write."""

    preconditions: list[Precondition] = field(default_factory=list)
    puts: dict[str, bytes] = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)

    def transaction(self) -> Transaction | None:
        if not self.puts and not self.deletes:
            return None
        return Transaction(preconditions=self.preconditions, puts=self.puts, deletes=self.deletes)


# Topics ------------------------------------------------------------------------------------------------


def decide_create_topics(
    image: ClusterImage,
    topics: Sequence[NewTopic],
    *,
    config: BrokerConfig,
    random: Random,
    new_topic_id: Callable[[], TopicId],
    now_ms: int,
) -> Decision[TopicResult]:
    batch = _Batch()
    twice = _named_twice(topic.name for topic in topics)
    taken = {collision_key(name): name for name in image.topics_by_name}
    partitions_left = PARTITIONS_PER_REQUEST_MAX
    results = []
    reported = set()
    for topic in topics:
        if topic.name in twice:
            if topic.name not in reported:
                reported.add(topic.name)
                results.append(_refused(topic.name, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
            continue
        try:
            _check_new_name(image, topic.name, taken)
            configs = _checked_topic_configs(topic.configs)
            placed = _place_topic(image, topic, config, random)
            if len(placed) > partitions_left:
                raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
        except KafkaError as error:
            results.append(TopicResult(name=topic.name, error=error))
            continue
        partitions_left -= len(placed)
        taken[collision_key(topic.name)] = topic.name
        topic_id = new_topic_id()
        _add_topic(batch, topic.name, topic_id, configs, placed, now_ms)
        results.append(
            TopicResult(
                name=topic.name,
                topic_id=topic_id,
                partition_count=len(placed),
                replication_factor=len(placed[0]),
                configs=configs,
            )
        )
    return Decision(results=tuple(results), transaction=batch.transaction())


def decide_delete_topics(
    image: ClusterImage, topics: Sequence[tuple[str | None, TopicId]], *, config: BrokerConfig
) -> Decision[TopicResult]:
    """``topics`` are (name, zero id) or (None, id), as DeleteTopics v6 asks; older versions only name."""
    batch = _Batch()
    names_twice = _named_twice(name for name, _ in topics if name is not None)
    ids_twice = _named_twice(topic_id for name, topic_id in topics if name is None)
    results: list[TopicResult] = []
    reported: set[tuple[str | None, TopicId]] = set()
    deleted: set[TopicId] = set()
    for name, topic_id in topics:
        twice = name in names_twice if name is not None else topic_id in ids_twice and topic_id != ZERO_TOPIC_ID
        if twice:
            if (name, topic_id) not in reported:
                reported.add((name, topic_id))
                what = "Duplicate topic name." if name is not None else "Duplicate topic id."
                results.append(_refused(name, ErrorCode.INVALID_REQUEST, what, topic_id))
            continue
        try:
            topic = _find_topic(image, name, topic_id)
            if not config.delete_topic_enable:
                raise KafkaError(ErrorCode.TOPIC_DELETION_DISABLED)
            if topic.topic_id in deleted:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST, "The provided topic name maps to an ID that was already supplied."
                )
            _refuse_internal(topic, "deleted")
        except KafkaError as error:
            results.append(TopicResult(name=name, topic_id=topic_id, error=error))
            continue
        deleted.add(topic.topic_id)
        _remove_topic(batch, topic)
        results.append(TopicResult(name=topic.name, topic_id=topic.topic_id))
    return Decision(results=tuple(results), transaction=batch.transaction())


def decide_create_partitions(
    image: ClusterImage, requests: Sequence[NewPartitions], *, random: Random
) -> Decision[TopicResult]:
    batch = _Batch()
    twice = _named_twice(request.name for request in requests)
    partitions_left = PARTITIONS_PER_REQUEST_MAX
    results = []
    reported = set()
    for request in requests:
        if request.name in twice:
            if request.name not in reported:
                reported.add(request.name)
                results.append(_refused(request.name, ErrorCode.INVALID_REQUEST, "Duplicate topic name."))
            continue
        try:
            topic = _find_topic(image, request.name, ZERO_TOPIC_ID)
            _refuse_internal(topic, "given more partitions")
            placed = _place_more(image, topic, request, random)
            if len(placed) > partitions_left:
                raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
        except KafkaError as error:
            results.append(TopicResult(name=request.name, error=error))
            continue
        partitions_left -= len(placed)
        batch.preconditions.append(VersionIs(records.topic_key(topic.name), topic.version))
        batch.puts[records.topic_key(topic.name)] = records.encode(
            _topic_record(topic, partition_count=request.total_count)
        )
        _add_partitions(batch, topic.topic_id, placed, first=len(topic.partitions))
        results.append(TopicResult(name=topic.name, topic_id=topic.topic_id, partition_count=request.total_count))
    return Decision(results=tuple(results), transaction=batch.transaction())


# Configs -----------------------------------------------------------------------------------------------


def decide_alter_configs(
    image: ClusterImage, changes: Sequence[ResourceChange], *, config: BrokerConfig
) -> Decision[ResourceResult]:
    """``config`` is the asked broker's, to which a change of a single broker's configs must be addressed."""
    batch = _Batch()
    twice = _named_twice((change.type, change.name) for change in changes)
    results = []
    for change in changes:
        error: KafkaError | None = None
        try:
            if (change.type, change.name) in twice:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
            check_request(change)
            match change.type:
                case ResourceType.TOPIC:
                    _alter_topic(image, change, config, batch)
                case ResourceType.BROKER:
                    _alter_broker(image, change, config, batch)
                case _:
                    raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {change.type}")
        except KafkaError as refused:
            error = refused
        results.append(ResourceResult(type=change.type, name=change.name, error=error))
    return Decision(results=tuple(results), transaction=batch.transaction())


def _alter_topic(image: ClusterImage, change: ResourceChange, config: BrokerConfig, batch: _Batch) -> None:
    if (reason := refuse_topic_name(change.name)) is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, reason)
    topic = image.topics_by_name.get(change.name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{change.name}' does not exist.")
    inherited = TopicConfig.resolve({}, config)
    configs = changed_configs(topic.configs, change, TOPIC_CONFIGS, inherited.value_of)
    validate_topic_configs(configs)
    if configs != topic.configs:
        batch.preconditions.append(VersionIs(records.topic_key(topic.name), topic.version))
        batch.puts[records.topic_key(topic.name)] = records.encode(_topic_record(topic, configs=configs))


def _alter_broker(image: ClusterImage, change: ResourceChange, config: BrokerConfig, batch: _Batch) -> None:
    if change.name:
        if not change.name.lstrip("-").isdecimal():
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {quoted(change.name)}")
        if int(change.name) != config.node_id:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"Unexpected broker id, expected {config.node_id}, but received {quoted(change.name)}",
            )
    current = image.broker_configs.get(change.name, {})
    configs = changed_configs(current, change, BROKER_CONFIGS, config.value_of)
    validate_dynamic_broker_configs(configs, cluster_wide=not change.name)
    if configs == current:
        return
    key = records.broker_configs_key(change.name)
    version = image.broker_configs_versions.get(change.name)
    batch.preconditions.append(Absent(key) if version is None else VersionIs(key, version))
    if configs:
        batch.puts[key] = records.encode(records.BrokerConfigsRecord(configs=configs))
    else:
        batch.deletes.append(key)


# Brokers and leadership --------------------------------------------------------------------------------


def decide_register(record: records.BrokerRecord, session: str) -> Transaction:
    """The caller has the session of this broker's name, so a former registration is gone."""
    key = records.broker_key(record.id)
    return Transaction(preconditions=(Absent(key),), ephemeral_puts={key: records.encode(record)}, session=session)


def decide_election(image: ClusterImage, broker_id: BrokerId, incarnation: str, session: str) -> Transaction:
    """Claim the controller key, which must be free, under the next epoch."""
    epoch = max(image.controller_epoch, 0) + 1
    return Transaction(
        preconditions=(Absent(records.CONTROLLER), _epoch_unchanged(image)),
        puts={
            records.CONTROLLER_EPOCH: records.encode(records.ControllerEpochRecord(epoch=epoch, broker_id=broker_id))
        },
        ephemeral_puts={
            records.CONTROLLER: records.encode(records.ControllerRecord(broker_id=broker_id, incarnation=incarnation))
        },
        session=session,
    )


def decide_leadership(image: ClusterImage, topics: Iterable[TopicImage]) -> Transaction | None:
    """Leaders for partitions whose leader is gone or came back; None when all is well.

    A broker that registered anew keeps its partitions under a higher epoch: what it led before its restart and what
    it leads now must be told apart. The same transaction marks its incarnation as settled, and only then may it lead
    (``ClusterImage.is_settled``); ``topics`` must therefore be all of them whenever a broker came or went.
    """
    restarted = {b.id for b in image.brokers.values() if image.incarnations.get(b.id) != b.incarnation}
    gone = set(image.incarnations) - set(image.brokers)
    preconditions: list[Precondition] = [_epoch_unchanged(image)]
    puts: dict[str, bytes] = {}
    for topic in topics:
        for index, partition in enumerate(topic.partitions):
            leader = _leader_for(partition, image)
            if leader == partition.leader and leader not in restarted:
                continue
            key = records.partition_key(format_topic_id(topic.topic_id), index)
            preconditions.append(VersionIs(key, partition.version))
            puts[key] = records.encode(_with_leader(partition, leader))
    deletes = [records.incarnation_key(broker_id) for broker_id in sorted(gone)]
    for broker_id in sorted(restarted):
        incarnation = image.brokers[broker_id].incarnation
        puts[records.incarnation_key(broker_id)] = records.encode(records.IncarnationRecord(incarnation=incarnation))
    if not puts and not deletes:
        return None
    return Transaction(preconditions=preconditions, puts=puts, deletes=deletes)


def _leader_for(partition: PartitionImage, image: ClusterImage) -> BrokerId:
    """The present leader while it lives, else the first live in-sync replica, else nobody: never an unclean one."""
    if partition.leader in image.brokers:
        return partition.leader
    return next((r for r in partition.replicas if r in partition.isr and r in image.brokers), NO_LEADER)


def _with_leader(partition: PartitionImage, leader: BrokerId) -> records.PartitionRecord:
    return records.PartitionRecord(
        replicas=list(partition.replicas),
        isr=list(partition.isr),
        leader=leader,
        leader_epoch=partition.leader_epoch + 1,
        partition_epoch=partition.partition_epoch + 1,
    )


def _epoch_unchanged(image: ClusterImage) -> Precondition:
    if image.controller_epoch_version == 0:
        return Absent(records.CONTROLLER_EPOCH)
    return VersionIs(records.CONTROLLER_EPOCH, image.controller_epoch_version)


# Checks ------------------------------------------------------------------------------------------------


def _check_new_name(image: ClusterImage, name: str, taken: Mapping[str, str]) -> None:
    if (reason := refuse_topic_name(name)) is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, reason)
    if name == CLUSTER_METADATA_TOPIC:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Creation of internal topic {name} is prohibited.")
    if name in image.topics_by_name:
        raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
    other = taken.get(collision_key(name))
    if other is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {other}")


def _checked_topic_configs(configs: Mapping[str, str | None]) -> dict[str, str]:
    validate_topic_configs(configs)
    return {name: value for name, value in configs.items() if value is not None}


def _place_topic(
    image: ClusterImage, topic: NewTopic, config: BrokerConfig, random: Random
) -> list[tuple[BrokerId, ...]]:
    if topic.assignments:
        return _manual_placement(image, topic)
    if topic.replication_factor < -1 or topic.replication_factor == 0:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    if topic.partition_count < -1 or topic.partition_count == 0:
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value.")
    count = config.num_partitions if topic.partition_count == -1 else topic.partition_count
    factor = config.default_replication_factor if topic.replication_factor == -1 else topic.replication_factor
    _check_partition_count(count)
    _check_replication_factor(image, factor)
    return place_replicas(list(image.brokers.values()), partition_count=count, replication_factor=factor, random=random)


def _manual_placement(image: ClusterImage, topic: NewTopic) -> list[tuple[BrokerId, ...]]:
    if topic.replication_factor != -1:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        )
    if topic.partition_count != -1:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        )
    _check_partition_count(len(topic.assignments))
    by_index: dict[int, tuple[BrokerId, ...]] = {}
    for index, replicas in topic.assignments:
        if index in by_index:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Found multiple manual partition assignments for partition {index}",
            )
        by_index[index] = tuple(replicas)
    if by_index.keys() != set(range(len(by_index))):
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT, "partitions should be a consecutive 0-based integer sequence"
        )
    placed = [by_index[index] for index in range(len(by_index))]
    for replicas in placed:
        _check_replicas(image.brokers, replicas, len(placed[0]))
    return placed


def _place_more(
    image: ClusterImage, topic: TopicImage, request: NewPartitions, random: Random
) -> list[tuple[BrokerId, ...]]:
    existing = len(topic.partitions)
    if request.total_count == existing:
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {existing} partition(s).")
    if request.total_count < existing:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {topic.name} currently has {existing} partition(s); {request.total_count} would not be an "
            "increase.",
        )
    _check_partition_count(request.total_count)
    added = request.total_count - existing
    factor = topic.replication_factor
    if request.assignments is not None:
        if len(request.assignments) != added:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"Attempted to add {added} additional partition(s), but only {len(request.assignments)} assignment(s) "
                "were specified.",
            )
        for replicas in request.assignments:
            _check_replicas(image.brokers, replicas, factor)
        return [tuple(replicas) for replicas in request.assignments]
    _check_replication_factor(image, factor)
    brokers = list(image.brokers.values())
    first_replica = topic.partitions[0].replicas[0]
    start = next((i for i, broker in enumerate(brokers) if broker.id >= first_replica), 0)
    return place_replicas(
        brokers,
        partition_count=added,
        replication_factor=factor,
        random=random,
        first_partition=existing,
        start_index=start,
    )


def _check_partition_count(count: int) -> None:
    if count > PARTITIONS_PER_TOPIC_MAX:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS,
            f"Number of partitions {count} is larger than the {PARTITIONS_PER_TOPIC_MAX} a topic may have.",
        )


def _check_replication_factor(image: ClusterImage, factor: int) -> None:
    if factor > len(image.brokers):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be "
            f"reached because only {len(image.brokers)} broker(s) are registered.",
        )


def _check_replicas(brokers: Mapping[BrokerId, BrokerImage], replicas: Sequence[BrokerId], factor: int) -> None:
    problem = None
    if not replicas:
        problem = "includes an empty replica list."
    elif len(replicas) != factor:
        problem = (
            f"includes a partition with {len(replicas)} replica(s), but this is not consistent with previous "
            f"partitions, which have {factor} replica(s)."
        )
    elif twice := _named_twice(replicas):
        problem = f"includes the broker {min(twice)} more than once."
    else:
        unknown = [broker_id for broker_id in replicas if broker_id not in brokers]
        if unknown:
            problem = f"includes broker {unknown[0]}, but no such broker is registered."
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"The manual partition assignment {problem}")


def _find_topic(image: ClusterImage, name: str | None, topic_id: TopicId) -> TopicImage:
    if name is not None and topic_id != ZERO_TOPIC_ID:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "You may not specify both topic name and topic id.")
    if name is None:
        if topic_id == ZERO_TOPIC_ID:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Neither topic name nor id were specified.")
        if (topic := image.topics_by_id.get(topic_id)) is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
    elif (topic := image.topics_by_name.get(name)) is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    return topic


def _refuse_internal(topic: TopicImage, what: str) -> None:
    if topic.internal:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Topic {topic.name} is internal and may not be {what}.")


Key = TypeVar("Key")


def _named_twice(keys: Iterable[Key]) -> set[Key]:
    seen: set[Key] = set()
    twice: set[Key] = set()
    for key in keys:
        (twice if key in seen else seen).add(key)
    return twice


def _refused(name: str | None, code: ErrorCode, message: str, topic_id: TopicId = ZERO_TOPIC_ID) -> TopicResult:
    return TopicResult(name=name, topic_id=topic_id, error=KafkaError(code, message))


# Writing -----------------------------------------------------------------------------------------------


def _add_topic(
    batch: _Batch,
    name: str,
    topic_id: TopicId,
    configs: dict[str, str],
    placed: Sequence[Sequence[BrokerId]],
    now_ms: int,
) -> None:
    record = records.TopicRecord(
        topic_id=format_topic_id(topic_id), partition_count=len(placed), configs=configs, created_at_ms=now_ms
    )
    batch.preconditions.append(Absent(records.topic_key(name)))
    batch.puts[records.topic_key(name)] = records.encode(record)
    _add_partitions(batch, topic_id, placed, first=0)


def _add_partitions(batch: _Batch, topic_id: TopicId, placed: Sequence[Sequence[BrokerId]], *, first: int) -> None:
    """A new partition is led by its first replica, which alone is in sync: the others join by fetching."""
    for index, replicas in enumerate(placed, start=first):
        record = records.PartitionRecord(
            replicas=list(replicas), isr=[replicas[0]], leader=replicas[0], leader_epoch=0, partition_epoch=0
        )
        batch.puts[records.partition_key(format_topic_id(topic_id), index)] = records.encode(record)


def _remove_topic(batch: _Batch, topic: TopicImage) -> None:
    batch.preconditions.append(VersionIs(records.topic_key(topic.name), topic.version))
    batch.deletes.append(records.topic_key(topic.name))
    topic_id = format_topic_id(topic.topic_id)
    batch.deletes.extend(records.partition_key(topic_id, index) for index in range(len(topic.partitions)))


def _topic_record(
    topic: TopicImage, *, partition_count: int | None = None, configs: Mapping[str, str] | None = None
) -> records.TopicRecord:
    return records.TopicRecord(
        topic_id=format_topic_id(topic.topic_id),
        partition_count=len(topic.partitions) if partition_count is None else partition_count,
        configs=dict(topic.configs if configs is None else configs),
        created_at_ms=topic.created_at_ms,
    )
