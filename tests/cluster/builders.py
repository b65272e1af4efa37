"""Short ways to the values these tests start from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from broker.cluster import records
from broker.cluster.decision import NewTopic
from broker.cluster.image import BrokerImage, ClusterImage, fold
from broker.cluster.topic_admin import decide_create_topics
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode, KafkaError
from broker.metadata.store import Commit, Entry, Transaction
from broker.types import TopicId

NOW_MS = 1_700_000_000_000


def broker(broker_id: int, rack: str | None = None, incarnation: str = "first") -> BrokerImage:
    return BrokerImage(
        id=broker_id,
        host=f"host-{broker_id}",
        port=9091 + broker_id,
        internal_host=f"internal-{broker_id}",
        internal_port=19091 + broker_id,
        rack=rack,
        incarnation=incarnation,
    )


def cluster(*broker_ids: int, settled: bool = True) -> ClusterImage:
    """A cluster of live brokers with a controller and without topics."""
    return ClusterImage(
        revision=10,
        cluster_id="c",
        brokers={broker_id: broker(broker_id) for broker_id in broker_ids},
        incarnations=dict.fromkeys(broker_ids, "first") if settled else {},
        controller_id=broker_ids[0],
        controller_epoch=1,
        controller_epoch_version=3,
    )


def numbered_ids() -> Callable[[], TopicId]:
    """Topic ids that say in which order they were given out."""
    counter = iter(range(1, 1 << 20))
    return lambda: next(counter).to_bytes(16, "big")


def committed(image: ClusterImage, transaction: Transaction | None) -> ClusterImage:
    """The image after a transaction whose preconditions hold."""
    if transaction is None:
        return image
    revision = image.revision + 1
    puts = {**transaction.puts, **transaction.ephemeral_puts}
    return fold(
        image,
        Commit(
            revision=revision,
            puts=tuple(Entry(key=key, value=value, version=revision) for key, value in puts.items()),
            deletes=tuple(transaction.deletes),
        ),
    )


def with_topics(image: ClusterImage, *topics: NewTopic, config: BrokerConfig | None = None) -> ClusterImage:
    decision = decide_create_topics(
        image,
        topics,
        config=config or BrokerConfig(),
        random=Random(1),
        new_topic_id=_ids_after(image),
        now_ms=NOW_MS,
    )
    assert [result.error for result in decision.results] == [None] * len(topics)
    return committed(image, decision.transaction)


def topic(name: str, partitions: int = 1, factor: int = 1, configs: Mapping[str, str | None] | None = None) -> NewTopic:
    return NewTopic(name=name, partition_count=partitions, replication_factor=factor, configs=configs or {})


def placed(name: str, *replicas: Sequence[int]) -> NewTopic:
    return NewTopic(name=name, assignments=tuple(enumerate(replicas)))


def written(transaction: Transaction | None) -> dict[str, dict[str, object]]:
    """The records of a transaction as plain values, to compare whole."""
    import msgspec

    assert transaction is not None
    puts = {**transaction.puts, **transaction.ephemeral_puts}
    return {key: msgspec.json.decode(value) for key, value in puts.items()}


def partition_keys(transaction: Transaction) -> list[str]:
    return sorted(key for key in transaction.puts if key.startswith(records.PARTITIONS))


def _ids_after(image: ClusterImage) -> Callable[[], TopicId]:
    """Never given twice, as the revision grows with every commit."""
    counter = iter(range(image.revision * 1_000, image.revision * 1_000 + 1_000))

    def next_id() -> TopicId:
        return next(counter).to_bytes(16, "big")

    return next_id


def outcome(error: KafkaError | None) -> tuple[ErrorCode, str] | None:
    return None if error is None else (error.code, error.message)
