"""Moving partitions to other brokers (KIP-455): what is refused, in Kafka's words, and what is written. Pure.

A reassignment is metadata only, so it survives whoever started it: the partition's replicas are those it had and those it is
to have, followers on the new brokers catch up by themselves, and the change of the in-sync set that completes it
(``partition_changes.py``) drops the old ones. Another reassignment, or a cancellation, replaces it at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from broker.cluster.decision import Batch, Decision, epoch_unchanged, find_partition, named_twice, put_partition
from broker.cluster.image import ClusterImage, PartitionImage, TopicImage
from broker.cluster.partition_changes import Ask, change_partition
from broker.cluster.standing import Standing, is_registered
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.types import BrokerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassignment:
    topic: str
    partition: int
    replicas: Sequence[BrokerId] | None
    """Preferred leader first; None cancels what is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignmentResult:
    topic: str
    partition: int
    error: KafkaError | None = None


def decide_reassignments(
    image: ClusterImage,
    asked: Sequence[Reassignment],
    *,
    allow_factor_change: bool,
    config: BrokerConfig,
    now_ms: int,
) -> Decision[ReassignmentResult]:
    standing = Standing(image, config, now_ms)
    batch = Batch(preconditions=[epoch_unchanged(image)])
    twice = named_twice((item.topic, item.partition) for item in asked)
    results = []
    for item in asked:
        error: KafkaError | None = None
        try:
            if (item.topic, item.partition) in twice:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Each partition must appear at most once.")
            topic = find_partition(image, item.topic, item.partition)
            before = topic.partitions[item.partition]
            if item.replicas is None:
                ask = _cancellation(topic, item.partition, standing)
            else:
                _check_target(image, before, item.replicas, allow_factor_change)
                ask = _move(before, item.replicas)
            record = change_partition(before, ask, standing.rules(topic, item.partition))
            if record is not None:
                put_partition(batch, image, topic, item.partition, record)
        except KafkaError as refused:
            error = refused
        results.append(ReassignmentResult(topic=item.topic, partition=item.partition, error=error))
    return Decision(results=tuple(results), transaction=batch.transaction())


def reassignments_of(topic: TopicImage) -> Iterator[tuple[int, PartitionImage]]:
    for index, partition in enumerate(topic.partitions):
        if partition.adding or partition.removing:
            yield index, partition


def _move(before: PartitionImage, target: Sequence[BrokerId]) -> Ask:
    """What an earlier reassignment brings in and this one wants too goes on being brought in."""
    settled = set(before.replicas) - set(before.adding)
    removing = [r for r in before.replicas if r not in target]
    return Ask(
        cause="reassigning",
        replicas=[*target, *removing],
        adding=[r for r in target if r not in settled],
        removing=removing,
    )


def _cancellation(topic: TopicImage, index: int, standing: Standing) -> Ask:
    before = topic.partitions[index]
    if not before.adding and not before.removing:
        raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    isr = [r for r in before.isr if r not in before.adding]
    if before.isr and not isr and not standing.rules(topic, index).unclean:
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Unable to revert partition assignment for {topic.name}:{index} because it would require an unclean leader "
            "election.",
        )
    return Ask(
        cause="reassignment_cancelled",
        replicas=[r for r in before.replicas if r not in before.adding],
        isr=isr,
        adding=(),
        removing=(),
    )


def _check_target(
    image: ClusterImage, before: PartitionImage, target: Sequence[BrokerId], allow_factor_change: bool
) -> None:
    problem = None
    if not target:
        problem = "includes an empty replica list."
    elif twice := named_twice(target):
        problem = f"includes the broker {min(twice)} more than once."
    elif unknown := [r for r in target if r not in before.replicas and not is_registered(image, r)]:
        problem = f"includes broker {unknown[0]}, but no such broker is registered."
    if problem is not None:
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"The manual partition assignment {problem}")
    factor = len(before.replicas) - len(before.adding)
    if not allow_factor_change and len(target) != factor:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"The replication factor is changed from {factor} to {len(target)}, which was not allowed.",
        )
