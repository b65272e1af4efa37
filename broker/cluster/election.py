"""Elections that an operator asks for, partition by partition, in Kafka's words. Pure.

The controller elects by itself whoever has to lead. What is left to ask for: the preferred leader instead of another one, and,
where nobody certainly has every acknowledged record, somebody nevertheless.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.cluster.decision import Batch, Decision, epoch_unchanged, find_partition, put_partition
from broker.cluster.image import ClusterImage, TopicImage
from broker.cluster.partition_changes import Ask, Election, change_partition
from broker.cluster.standing import Standing
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectionResult:
    topic: str
    partition: int
    error: KafkaError | None = None


def decide_elections(
    image: ClusterImage,
    asked: Sequence[tuple[str, Sequence[int]]] | None,
    *,
    unclean: bool,
    config: BrokerConfig,
    now_ms: int,
) -> Decision[ElectionResult]:
    """``asked`` None means every partition; those that need no election are then left out of the results."""
    standing = Standing(image, config, now_ms)
    batch = Batch(preconditions=[epoch_unchanged(image)])
    results = []
    for name, index in _named(image, asked):
        error: KafkaError | None = None
        try:
            _elect(image, name, index, unclean, standing, batch)
        except KafkaError as refused:
            error = refused
        if asked is None and error is not None and error.code is ErrorCode.ELECTION_NOT_NEEDED:
            continue
        results.append(ElectionResult(topic=name, partition=index, error=error))
    return Decision(results=tuple(results), transaction=batch.transaction())


def _named(image: ClusterImage, asked: Sequence[tuple[str, Sequence[int]]] | None) -> Iterable[tuple[str, int]]:
    if asked is None:
        return [(name, index) for name, topic in image.topics_by_name.items() for index in range(len(topic.partitions))]
    return dict.fromkeys((name, index) for name, indexes in asked for index in indexes)


def _elect(image: ClusterImage, name: str, index: int, unclean: bool, standing: Standing, batch: Batch) -> None:
    topic: TopicImage = find_partition(image, name, index)
    before = topic.partitions[index]
    led = before.leader in image.brokers
    if led and (unclean or before.leader == before.replicas[0]):
        raise KafkaError(ErrorCode.ELECTION_NOT_NEEDED, "Leader election not needed for topic partition.")
    ask = Ask(
        cause="preferred",
        election=Election.UNCLEAN if unclean else Election.PREFERRED,
    )
    record = change_partition(before, ask, standing.rules(topic, index))
    if record is not None and record.leader != before.leader and record.leader in image.brokers:
        put_partition(batch, image, topic, index, record)
    elif unclean:
        raise KafkaError(ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE, "No replica of the partition is alive.")
    else:
        raise KafkaError(
            ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
            f"Broker {before.replicas[0]} is not alive, or not in sync, or not meant to lead.",
        )
