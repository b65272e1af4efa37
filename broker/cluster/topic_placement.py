"""Where the partitions a request asks for go: by the round robin of ``placement.py`` or as the request says.

Owns what is refused about counts and assignments, in Kafka's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random

from broker.cluster.decision import NewPartitions, NewTopic, named_twice
from broker.cluster.image import ClusterImage, TopicImage
from broker.cluster.placement import Place, place_replicas
from broker.cluster.standing import ACTIVE, DECOMMISSIONED, is_registered
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
        # Who leaves it to us shall get a topic also in a cluster that is smaller than meant; the answer says what it got.
        factor = min(config.default_replication_factor, max(count_places(image), 1))
    _check_partition_count(count)
    places = _Places.of(image)
    places.check_factor(factor)
    return place_replicas(
        places.here, reserve=places.reserve, partition_count=count, replication_factor=factor, random=random
    )


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
            _check_replicas(image, replicas, factor)
        return [tuple(replicas) for replicas in request.assignments]
    places = _Places.of(image)
    places.check_factor(factor)
    first_replica = topic.partitions[0].replicas[0]
    start = next((i for i, place in enumerate(places.here) if place.id >= first_replica), 0)
    return place_replicas(
        places.here,
        reserve=places.reserve,
        partition_count=added,
        replication_factor=factor,
        random=random,
        first_partition=existing,
        start_index=start,
    )


def count_places(image: ClusterImage) -> int:
    """How many replicas a partition may have by default: brokers that are here, or expected back."""
    places = _Places.of(image)
    return len(places.here) + len(places.away)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """The brokers of the cluster by how gladly they are given replicas. Who is decommissioned is given none."""

    here: tuple[Place, ...]
    """Alive and meant to stay; if there are none, whoever is alive."""
    away: tuple[Place, ...]
    """Registered and expected back, or about to stop for a while."""
    leaving: tuple[Place, ...]
    """Draining."""

    @classmethod
    def of(cls, image: ClusterImage) -> _Places:
        racks = {broker_id: state.rack for broker_id, state in image.brokers_state.items()}
        racks |= {broker.id: broker.rack for broker in image.brokers.values()}
        states = {broker_id: state.state for broker_id, state in image.brokers_state.items()}
        usable = [b for b in sorted(racks) if states.get(b, ACTIVE) != DECOMMISSIONED]
        staying = [b for b in usable if states.get(b, ACTIVE) == ACTIVE]
        here = [b for b in staying if b in image.brokers and b not in image.stopping]
        here = here or [b for b in usable if b in image.brokers]

        def places(*brokers: BrokerId) -> tuple[Place, ...]:
            return tuple(Place(id=broker_id, rack=racks[broker_id]) for broker_id in brokers)

        return cls(
            here=places(*here),
            away=places(*(b for b in staying if b not in here)),
            leaving=places(*(b for b in usable if b not in staying and b not in here)),
        )

    @property
    def reserve(self) -> tuple[tuple[Place, ...], ...]:
        return self.away, self.leaving

    def check_factor(self, factor: int) -> None:
        if not self.here:
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"Unable to replicate the partition {factor} time(s): All brokers are currently fenced.",
            )
        registered = sum(1 for _ in chain(self.here, self.away, self.leaving))
        if factor > registered:
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"Unable to replicate the partition {factor} time(s): The target replication factor of {factor} cannot be "
                f"reached because only {registered} broker(s) are registered.",
            )


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
        _check_replicas(image, replicas, len(placed[0]))
    return placed


def _check_partition_count(count: int) -> None:
    if count > PARTITIONS_PER_TOPIC_MAX:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS,
            f"Number of partitions {count} is larger than the {PARTITIONS_PER_TOPIC_MAX} a topic may have.",
        )


def _check_replicas(image: ClusterImage, replicas: Sequence[BrokerId], factor: int) -> None:
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
        unknown = [broker_id for broker_id in replicas if not is_registered(image, broker_id)]
        if unknown:
            problem = f"includes broker {unknown[0]}, but no such broker is registered."
        elif image.brokers.keys().isdisjoint(replicas):
            problem = "includes a partition all of whose brokers are fenced or in controlled shutdown."
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"The manual partition assignment {problem}")
