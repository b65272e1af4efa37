"""Read, process, write on two brokers, either of which dies by kill -9 at any moment: every record exactly once.

Coordinators of transactional ids and of groups, sources and sinks are spread over both brokers, each with one replica, so
most transactions have their parts on different brokers. The processor is started again whenever it fails, as an orchestrator
would; a new one fences the old one by its transactional id.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import Producer

from broker.client.blocking import Client
from tests.interop.copying import PARTITIONS, WAIT, Processor, committed, fill
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = pytest.mark.interop

SMALL = {
    "OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
    "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
    "OTTLA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "OTTLA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "OTTLA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS": "200",
}


class Cluster:
    """Two brokers of one installation."""

    def __init__(self, home: Path) -> None:
        self.brokers = [BrokerProcess(home, node_id=node_id, **SMALL) for node_id in (1, 2)]

    def __enter__(self) -> Cluster:
        for broker in self.brokers:
            broker.start()
        return self

    def __exit__(self, *failure: object) -> None:
        for broker in self.brokers:
            broker.close()

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path) as running:
        yield running


def spread(client: Client, topic: str) -> set[int]:
    return {partition.leader for partition in client.metadata([topic]).topics[0].partitions}


def copy_through_deaths(cluster: Cluster, records: int, deaths: int, seed: int) -> Processor:
    random = Random(seed)
    with Client(cluster.bootstrap) as client:
        for topic in ("source", "sink"):
            client.create_topic(topic, PARTITIONS, 1)
            assert spread(client, topic) == {1, 2}
        counts = fill(cluster.bootstrap, "source", records)
        processor = Processor(cluster.bootstrap, "copier", "source", "sink")
        working = threading.Thread(target=processor.run, args=(counts,), daemon=True)
        working.start()
        for death in range(deaths):
            done = processor.transactions
            goal = done + random.randrange(2, 12)
            wait_until(
                lambda goal=goal: processor.transactions >= goal or not working.is_alive(),  # type: ignore[misc]
                f"the copying goes on after {death} deaths (seed {seed})",
                seconds=90,
            )
            victim = random.choice(cluster.brokers)
            victim.kill()
            victim.start()
        working.join(120)
        assert not working.is_alive(), f"not done; seed {seed}"
        assert {str(key): state for key, state in _states(client).items()}.keys() == {"copier"}
        found = Counter(committed(client, "sink"))
        assert found == Counter(b"%d" % number for number in range(records)), f"lost or doubled; seed {seed}"
        return processor


def _states(client: Client) -> dict[str, str]:
    return {listing.transactional_id: listing.state for listing in client.list_transactions()}


def test_every_record_is_copied_once_though_brokers_die(cluster: Cluster) -> None:
    processor = copy_through_deaths(cluster, records=200, deaths=2, seed=1)
    assert processor.transactions >= 20


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(3))
def test_every_record_is_copied_once_though_brokers_die_again_and_again(cluster: Cluster, seed: int) -> None:
    copy_through_deaths(cluster, records=2_000, deaths=15, seed=seed)


def test_parts_of_a_transaction_on_different_brokers_hold_together(cluster: Cluster) -> None:
    """Many ids, so that both brokers coordinate some; each writes to every partition of a topic spread over both."""
    with Client(cluster.bootstrap) as client:
        client.create_topic("sink", PARTITIONS, 1)
        assert spread(client, "sink") == {1, 2}
        for number in range(6):
            producer = Producer(
                {"bootstrap.servers": cluster.bootstrap, "transactional.id": f"id-{number}", "linger.ms": 0}
            )
            producer.init_transactions(WAIT)
            for commit in (True, False):
                producer.begin_transaction()
                for index in range(PARTITIONS):
                    producer.produce("sink", b"%d %d" % (number, commit), partition=index)
                producer.flush(WAIT)
                (producer.commit_transaction if commit else producer.abort_transaction)(WAIT)
        coordinators = {listing.coordinator for listing in client.list_transactions()}
        assert coordinators == {1, 2}
        assert Counter(committed(client, "sink")) == {b"%d 1" % number: PARTITIONS for number in range(6)}
