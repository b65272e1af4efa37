"""Where the partitions a request asks for go: by the round robin of ``placement.py`` or as the request says.

Owns what is refused about counts and assignments, in Kafka's words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from broker.cluster.decision import NewPartitions, NewTopic, named_twice
from broker.cluster.image import BrokerImage, ClusterImage, TopicImage
from broker.cluster.placement import place_replicas
from broker.cluster.standing import unwanted_brokers
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.limits import PARTITIONS_PER_TOPIC_MAX
from broker.types import BrokerId


def place_topic(
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
    factor = topic.replication_factor
    if factor == -1:
        # Who leaves it to us shall get a topic also while a broker is away; what it became is in the answer.
        factor = min(config.default_replication_factor, max(len(_brokers_for(image, 1)), 1))
    _check_partition_count(count)
    _check_replication_factor(image, factor)
    return place_replicas(_brokers_for(image, factor), partition_count=count, replication_factor=factor, random=random)


def place_more(
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
    brokers = _brokers_for(image, factor)
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


def _brokers_for(image: ClusterImage, factor: int) -> list[BrokerImage]:
    """Those that are alive and meant to stay; with too few of them, also those that are not."""
    leaving = unwanted_brokers(image) | image.stopping
    staying = [broker for broker in image.brokers.values() if broker.id not in leaving]
    return staying if len(staying) >= factor else list(image.brokers.values())


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
    elif twice := named_twice(replicas):
        problem = f"includes the broker {min(twice)} more than once."
    else:
        unknown = [broker_id for broker_id in replicas if broker_id not in brokers]
        if unknown:
            problem = f"includes broker {unknown[0]}, but no such broker is registered."
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"The manual partition assignment {problem}")
