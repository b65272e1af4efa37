from __future__ import annotations

from broker.cluster.image import ClusterImage, PartitionImage, TopicImage
from broker.partition.losses import in_sync_again, relied_on
from broker.types import TopicPartition

TOPIC_ID = b"a" * 16


def image(**fields: object) -> ClusterImage:
    values: dict[str, object] = {"leader": 2, "leader_epoch": 0, "isr": (2,), "replicas": (1, 2), "partition_epoch": 0}
    partition = PartitionImage(**(values | fields))  # type: ignore[arg-type]
    topic = TopicImage(name="a", topic_id=TOPIC_ID, partitions=(partition,), configs={})
    return ClusterImage(topics_by_name={"a": topic}, topics_by_id={TOPIC_ID: topic})


def test_a_loss_matters_where_somebody_might_rely_on_the_replica() -> None:
    missing = [TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("gone", 0)]
    assert relied_on(image(), 1, missing) == frozenset()
    for fields in ({"isr": (1, 2)}, {"elr": (1,)}, {"last_known_leader": 1}):
        assert relied_on(image(**fields), 1, missing) == {(TOPIC_ID, 0)}


def test_a_loss_is_over_when_the_replica_is_in_sync_again() -> None:
    lost = [TopicPartition("a", 0), TopicPartition("gone", 0)]
    assert in_sync_again(image(), 1, lost) == frozenset()
    assert in_sync_again(image(elr=(1,)), 1, lost) == frozenset()
    assert in_sync_again(image(isr=(2, 1)), 1, lost) == {TopicPartition("a", 0)}
