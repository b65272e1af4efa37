"""Creating, deleting and growing topics: what is refused, in Kafka's words, and what is written.

Pure decisions, see ``decision.py``. One bad item never fails its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from broker.cluster import records
from broker.cluster.decision import Batch, Decision, NewPartitions, NewTopic, TopicResult, named_twice, topic_record
from broker.cluster.image import ClusterImage, TopicImage
from broker.cluster.standing import unwanted_brokers
from broker.cluster.topic_names import collision_key, refuse_topic_name
from broker.cluster.topic_placement import place_more, place_topic
from broker.config.broker import BrokerConfig
from broker.config.topic import validate_topic_configs
from broker.errors import ErrorCode, KafkaError
from broker.limits import PARTITIONS_PER_REQUEST_MAX
from broker.metadata.store import Absent, VersionIs
from broker.types import ZERO_TOPIC_ID, BrokerId, TopicId, format_topic_id

CLUSTER_METADATA_TOPIC = "__cluster_metadata"


def decide_create_topics(
    image: ClusterImage,
    topics: Sequence[NewTopic],
    *,
    config: BrokerConfig,
    random: Random,
    new_topic_id: Callable[[], TopicId],
    now_ms: int,
) -> Decision[TopicResult]:
    batch = Batch()
    twice = named_twice(topic.name for topic in topics)
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
            placed = place_topic(image, topic, config, random)
            if len(placed) > partitions_left:
                raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
        except KafkaError as error:
            results.append(TopicResult(name=topic.name, error=error))
            continue
        partitions_left -= len(placed)
        taken[collision_key(topic.name)] = topic.name
        topic_id = new_topic_id()
        _add_topic(batch, image, topic.name, topic_id, configs, placed, now_ms)
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
    batch = Batch()
    names_twice = named_twice(name for name, _ in topics if name is not None)
    ids_twice = named_twice(topic_id for name, topic_id in topics if name is None)
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
    image: ClusterImage, requests: Sequence[NewPartitions], *, random: Random, now_ms: int
) -> Decision[TopicResult]:
    batch = Batch()
    twice = named_twice(request.name for request in requests)
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
            placed = place_more(image, topic, request, random)
            if len(placed) > partitions_left:
                raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")
        except KafkaError as error:
            results.append(TopicResult(name=request.name, error=error))
            continue
        partitions_left -= len(placed)
        batch.preconditions.append(VersionIs(records.topic_key(topic.name), topic.version))
        batch.puts[records.topic_key(topic.name)] = records.encode(
            topic_record(topic, partition_count=request.total_count)
        )
        _add_partitions(batch, image, topic.topic_id, placed, first=len(topic.partitions), now_ms=now_ms)
        results.append(TopicResult(name=topic.name, topic_id=topic.topic_id, partition_count=request.total_count))
    return Decision(results=tuple(results), transaction=batch.transaction())


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


def _refused(name: str | None, code: ErrorCode, message: str, topic_id: TopicId = ZERO_TOPIC_ID) -> TopicResult:
    return TopicResult(name=name, topic_id=topic_id, error=KafkaError(code, message))


# Writing -----------------------------------------------------------------------------------------------


def _add_topic(
    batch: Batch,
    image: ClusterImage,
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
    _add_partitions(batch, image, topic_id, placed, first=0, now_ms=now_ms)


def _add_partitions(
    batch: Batch,
    image: ClusterImage,
    topic_id: TopicId,
    placed: Sequence[Sequence[BrokerId]],
    *,
    first: int,
    now_ms: int,
) -> None:
    """All replicas that are here to stay are in sync: there is nothing they could lack. The first that is wanted leads.

    Who is away may be forgotten at any moment: that it still is registered is part of the decision.
    """
    unwanted = unwanted_brokers(image)
    for index, replicas in enumerate(placed, start=first):
        here = [replica for replica in replicas if replica in image.brokers]
        for replica in replicas:
            if replica not in here:
                batch.require(VersionIs(records.broker_state_key(replica), image.brokers_state[replica].version))
        alive = [replica for replica in here if replica not in image.stopping] or here
        leader = next((replica for replica in alive if replica not in unwanted), alive[0])
        record = records.PartitionRecord(
            replicas=list(replicas),
            isr=alive,
            leader=leader,
            leader_epoch=0,
            partition_epoch=0,
            cause="created",
            changed_at_ms=now_ms,
        )
        batch.puts[records.partition_key(format_topic_id(topic_id), index)] = records.encode(record)


def _remove_topic(batch: Batch, topic: TopicImage) -> None:
    batch.preconditions.append(VersionIs(records.topic_key(topic.name), topic.version))
    batch.deletes.append(records.topic_key(topic.name))
    topic_id = format_topic_id(topic.topic_id)
    batch.deletes.extend(records.partition_key(topic_id, index) for index in range(len(topic.partitions)))
