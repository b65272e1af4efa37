"""A group lives through the loss of its coordinator: members go on committing, and no committed offset goes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from tests.interop.failover import PATIENCE_SECONDS, Writer, number_of
from tests.interop.groups import Group, group_of
from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

PARTITIONS = 4
GROUP = "workers"


class Ledger:
    """What the members were told is committed, beside what the coordinator says."""

    def __init__(self, client: Client, group: Group) -> None:
        self.looks = 0
        self._client = client
        self._group = group
        self._highest: dict[int, int] = {}

    def told(self) -> dict[int, int]:
        """By partition: where a member's own commit, which was confirmed to it, says to go on."""
        positions: dict[int, int] = {}
        for value in self._group.values():
            partition = int(value.partition(":")[0])
            positions[partition] = max(positions.get(partition, 0), number_of(value) + 1)
        return positions

    def look(self) -> None:
        told = self.told()
        try:
            found = {offset.partition: offset.offset for offset in self._client.group_offsets(GROUP)}
        except (KafkaError, ClientConnectionError):
            return  # there is no coordinator now
        for partition, position in {**self._highest, **told}.items():
            least = max(position, self._highest.get(partition, 0))
            assert found.get(partition, 0) >= least, f"partition {partition} went back to {found.get(partition)}"
        self._highest = found
        self.looks += 1

    def wait_goes_on(self) -> None:
        before, looks = self.told(), self.looks

        def goes_on() -> bool:
            self.look()
            now = self.told()
            return self.looks > looks and all(now.get(p, 0) > before.get(p, 0) for p in range(PARTITIONS))

        wait_until(goes_on, f"members commit in every partition, more than {before}", seconds=PATIENCE_SECONDS)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterProcess]:
    with ClusterProcess(
        tmp_path, OTTLA_GROUP_MIN_SESSION_TIMEOUT_MS="1000", OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS="3"
    ) as processes:
        yield processes


def test_no_committed_offset_goes_back_when_the_coordinator_is_killed(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=PARTITIONS, min_insync_replicas="2")
    with (
        Writer(cluster.bootstrap, topic, PARTITIONS) as writer,
        group_of(cluster.bootstrap, GROUP, topic) as group,
        Client(cluster.bootstrap) as client,
    ):
        writer.wait_goes_on()
        members = [group.join("confluent-kafka"), group.join("aiokafka")]
        group.wait_shared(members, PARTITIONS)
        ledger = Ledger(client, group)
        ledger.wait_goes_on()
        former = 0
        for _ in range(2):
            coordinator = cluster.coordinator(GROUP)
            assert coordinator != former, "the other one took over and keeps the group"
            cluster.kill(coordinator)
            former = coordinator
            ledger.wait_goes_on()
            cluster.start(coordinator)
            ledger.wait_goes_on()
        writer.finish()
        wait_until(
            lambda: ledger.told() == dict(enumerate(writer.acknowledged)),
            "everything is read and committed",
            seconds=PATIENCE_SECONDS,
        )
        ledger.look()
        assert not [member.errors for member in members if member.ended]
