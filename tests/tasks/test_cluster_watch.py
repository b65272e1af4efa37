"""The standing of a cluster from what its brokers tell: the newest word counts, and silence is seen."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from broker.client.errors import ClientConnectionError
from broker.client.results import BrokerEndpoint, ClusterDescription
from broker.jobs.cluster_watch import ClusterWatch
from broker.rebalancing.standing import ClusterStanding
from broker.telemetry.sample import (
    BrokerSample,
    ControlSample,
    PartitionSample,
    RegistrationSample,
    Sample,
    TelemetryResponse,
    TopicSample,
)
from broker.types import TopicPartition

KEY = TopicPartition("orders", 0)


def registered(broker: int, **values: object) -> RegistrationSample:
    known: dict[str, object] = {"incarnation": f"life{broker}", "live": True, **values}
    return RegistrationSample(id=broker, **known)  # type: ignore[arg-type]


EVERYBODY = [registered(1), registered(2), registered(3)]


def partition(**values: object) -> PartitionSample:
    known: dict[str, object] = {
        "leader": 1,
        "leader_epoch": 5,
        "partition_epoch": 9,
        "replicas": [1, 2, 3],
        "isr": [1, 2, 3],
        "high_watermark": 40,
        "log_end_offset": 42,
        **values,
    }
    return PartitionSample(topic=KEY.topic, partition=KEY.partition, **known)  # type: ignore[arg-type]


def sample(
    broker: int, *partitions: PartitionSample, revision: int = 7, brokers: Iterable[RegistrationSample] = EVERYBODY
) -> Sample:
    return Sample(
        broker_id=broker,
        incarnation=f"life{broker}",
        seq=1,
        sampled_at_ms=0,
        full=True,
        broker=BrokerSample(id=broker),
        controller_id=1,
        revision=revision,
        control=ControlSample(brokers=list(brokers)),
        topics=[TopicSample(name=KEY.topic, topic_id="id", min_insync_replicas=2)],
        partitions=list(partitions) or [partition()],
    )


class FakeClient:
    """Answers with what it was given; a broker without an answer is silent."""

    def __init__(self, *samples: Sample) -> None:
        self.answers = {one.broker_id: one for one in samples}
        self.asked: list[tuple[int, str, int]] = []

    def describe_cluster(self) -> ClusterDescription:
        ends = tuple(BrokerEndpoint(id=one, host="127.0.0.1", port=1) for one in (1, 2, 3))
        return ClusterDescription(cluster_id="c", controller_id=1, brokers=ends)

    def telemetry(self, incarnation: str, seq: int, wait_ms: int, *, broker_id: int) -> TelemetryResponse:
        self.asked.append((broker_id, incarnation, seq))
        if broker_id not in self.answers:
            raise ClientConnectionError("it is silent")
        answer = self.answers[broker_id]
        fresh = (answer.incarnation, answer.seq) != (incarnation, seq)
        return TelemetryResponse(samples=[answer] if fresh else [])


def look(*samples: Sample) -> ClusterStanding:
    return ClusterWatch(FakeClient(*samples)).look()  # type: ignore[arg-type]


def test_a_cluster_that_is_well() -> None:
    standing = look(sample(1), sample(2, partition(log_end_offset=41)), sample(3))
    assert standing.troubles() == []
    assert (standing.controller, standing.partitions[KEY].min_isr) == (1, 2)
    assert standing.partitions[KEY].high_watermark == 40
    assert standing.brokers[2].ends == {KEY: 41}


def test_who_does_not_answer_is_silent_although_its_session_lasts() -> None:
    assert look(sample(1), sample(2)).troubles() == ["Broker 3 does not answer."]


def test_nobody_at_all_is_an_error() -> None:
    with pytest.raises(ClientConnectionError, match="no broker answers"):
        look()


def test_the_newer_word_about_a_partition_counts() -> None:
    behind = partition(isr=[1, 2], partition_epoch=10)
    assert look(sample(1), sample(2, behind), sample(3)).partitions[KEY].isr == (1, 2)
    assert look(sample(1, behind), sample(2), sample(3)).partitions[KEY].isr == (1, 2)


def test_of_registrations_the_newer_metadata_are_right() -> None:
    gone = [registered(1), registered(2), registered(3, live=False, incarnation="")]
    standing = look(sample(1), sample(2, revision=8, brokers=gone), sample(3))
    assert not standing.brokers[3].live


def test_a_broker_that_has_not_seen_itself_settled_is_not_believed_yet() -> None:
    returned = [registered(1), registered(2), registered(3, settled=False)]
    standing = look(sample(1), sample(2), sample(3, revision=6, brokers=returned))
    assert standing.troubles() == ["Broker 3 has only just come back."]


def test_a_registration_renewed_by_the_same_process_is_the_same_life() -> None:
    renewed = [registered(1), registered(2), registered(3, incarnation="life3.1")]
    assert look(sample(1, brokers=renewed), sample(2), sample(3)).brokers[3].incarnation == "life3"


def test_replicas_that_are_offline_say_why() -> None:
    broken = partition(offline_reason="a checksum is wrong")
    assert look(sample(1), sample(2, broken), sample(3)).troubles() == [
        "Broker 2 has orders-0 (a checksum is wrong) offline."
    ]


def test_partitions_of_a_topic_that_was_deleted_are_none() -> None:
    deleted = sample(1, PartitionSample(topic="deleted", partition=0, leader=1, replicas=[1], isr=[1]))
    assert look(deleted, sample(2), sample(3)).partitions.keys() == {KEY}


def test_only_what_is_new_is_asked_for() -> None:
    client = FakeClient(sample(1), sample(2), sample(3))
    watch = ClusterWatch(client)  # type: ignore[arg-type]
    first = watch.look()
    assert watch.look() == first
    assert client.asked[:3] == [(1, "", -1), (2, "", -1), (3, "", -1)]
    assert client.asked[3:] == [(1, "life1", 1), (2, "life2", 1), (3, "life3", 1)]
