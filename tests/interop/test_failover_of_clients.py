"""Clients live through the loss of any broker: what was acknowledged is there, once and in order."""

from __future__ import annotations

import pytest

from tests.interop.failover import Reader, Writer
from tests.support.cluster_process import ClusterProcess

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

PARTITIONS = 3


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_nothing_acknowledged_is_lost_doubled_or_moved_when_each_broker_goes_in_turn(
    cluster: ClusterProcess, ending: str
) -> None:
    topic = cluster.create_topic(partitions=PARTITIONS, min_insync_replicas="2")
    for partition in range(PARTITIONS):
        cluster.wait_isr(topic, partition)
    with (
        Writer(cluster.bootstrap, topic, PARTITIONS) as writer,
        Reader(cluster.bootstrap, topic, PARTITIONS) as reader,
    ):
        writer.wait_goes_on()
        for broker_id in cluster.brokers:
            getattr(cluster, ending)(broker_id)
            writer.wait_goes_on()
            cluster.start(broker_id)
            for partition in range(PARTITIONS):
                cluster.wait_isr(topic, partition)
        writer.wait_goes_on()
        writer.finish()
        reader.wait_read(writer.acknowledged)
        assert writer.failures == []
        assert reader.values == [list(range(count)) for count in writer.acknowledged]
    for partition, count in enumerate(writer.acknowledged):
        cluster.replicas_agree(topic, partition, high_watermark=count)
