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
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = pytest.mark.interop

WAIT = 10.0
PARTITIONS = 4
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


class Processor:
    """Copies ``source`` to ``sink``, partition by partition, a few records a transaction."""

    def __init__(self, bootstrap: str, key: str, source: str, sink: str, batch: int = 5) -> None:
        self.transactions = self.failures = 0
        self._bootstrap = bootstrap
        self._key = key
        self._source, self._sink, self._batch = source, sink, batch

    def run(self, counts: dict[int, int]) -> None:
        """Until everything is copied, whatever fails meanwhile."""
        while True:
            try:
                self._life(counts)
                return
            except KafkaException:
                self.failures += 1
                assert self.failures < 200, "it never gets anywhere"

    def _life(self, counts: dict[int, int]) -> None:
        common = {"bootstrap.servers": self._bootstrap, "reconnect.backoff.max.ms": 200}
        producer = Producer({**common, "transactional.id": self._key, "linger.ms": 0, "transaction.timeout.ms": 10_000})
        consumer = Consumer(
            {
                **common,
                "group.id": self._key,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        try:
            producer.init_transactions(WAIT)
            known = consumer.committed([TopicPartition(self._source, index) for index in counts], timeout=WAIT)
            positions = {one.partition: max(one.offset, 0) for one in known}
            consumer.assign([TopicPartition(self._source, index, at) for index, at in positions.items()])
            while any(positions[index] < counts[index] for index in counts):
                self._transaction(producer, consumer, positions)
        finally:
            consumer.close()

    def _transaction(self, producer: Producer, consumer: Consumer, positions: dict[int, int]) -> None:
        messages = [one for one in consumer.consume(self._batch, timeout=1.0) if one.error() is None]
        if not messages:
            return
        producer.begin_transaction()
        for message in messages:
            producer.produce(self._sink, message.value(), partition=message.partition())
            positions[message.partition()] = message.offset() + 1
        offsets = [TopicPartition(self._source, index, at) for index, at in positions.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), WAIT)
        producer.commit_transaction(WAIT)
        self.transactions += 1


def fill(cluster: Cluster, topic: str, records: int) -> dict[int, int]:
    """Records per partition, each with a value of its own."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for number in range(records):
        producer.produce(topic, b"%d" % number, partition=number % PARTITIONS)
    assert producer.flush(WAIT) == 0
    return dict(Counter(number % PARTITIONS for number in range(records)))


def committed(client: Client, topic: str) -> list[bytes]:
    values: list[bytes] = []
    for index in range(PARTITIONS):
        wait_until(lambda index=index: _is_settled(client, topic, index), f"nothing is open in partition {index}")  # type: ignore[misc]
        end, offset = client.list_offsets(topic, {index: -1})[index].offset, 0
        while offset < end:
            fetched = client.fetch(topic, index, offset, read_committed=True, max_wait_ms=10)
            values += [record.value or b"" for record in fetched.records]
            offset = fetched.next_offset
    return values


def _is_settled(client: Client, topic: str, index: int) -> bool:
    try:
        stable, end = (
            client.list_offsets(topic, {index: -1}, read_committed=stable)[index].offset for stable in (True, False)
        )
    except (KafkaError, ClientConnectionError):
        return False
    return stable == end


def spread(client: Client, topic: str) -> set[int]:
    return {partition.leader for partition in client.metadata([topic]).topics[0].partitions}


def copy_through_deaths(cluster: Cluster, records: int, deaths: int, seed: int) -> Processor:
    random = Random(seed)
    with Client(cluster.bootstrap) as client:
        for topic in ("source", "sink"):
            client.create_topic(topic, PARTITIONS, 1)
            assert spread(client, topic) == {1, 2}
        counts = fill(cluster, "source", records)
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
