"""Read-process-write by other people's clients while the broker is killed: every record is copied once, none twice.

Each copier reads committed records, writes them and its offsets in one transaction, and goes on from wherever its client
says after a failure. The broker dies without warning in the middle and comes back.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bench import raw
from tests.interop import apache, go_program
from tests.interop.copying import Output
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(400)]
RECORDS = 3_000
PARTITIONS = 2
KILLS = 3
COPY_SECONDS_MAX = 120

Copier = Callable[[BrokerProcess], subprocess.Popen[str]]


@pytest.fixture
def broker(tmp_path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path) as process:
        for topic in ("in", "out"):
            raw.create_topic(process.port, topic, partitions=PARTITIONS)
        yield process


def java_client(broker: BrokerProcess) -> subprocess.Popen[str]:
    apache.require_apache_kafka()
    return apache.start_scenario("copy", broker.bootstrap, "in", "out", "copiers", "copier-1", str(RECORDS))


def apaches_copier(broker: BrokerProcess) -> subprocess.Popen[str]:
    """Aborts every now and then on its own, too."""
    apache.require_apache_kafka()
    return apache.start_tool(
        "TransactionalMessageCopier",
        *("--broker-list", broker.bootstrap, "--input-topic", "in", "--input-partition", "-1", "--output-topic", "out"),
        *("--consumer-group", "copiers", "--transactional-id", "copier-1", "--transaction-size", "5"),
        *("--group-mode", "--use-group-metadata", "--enable-random-aborts", "--transaction-timeout", "20000"),
    )


def go_client(broker: BrokerProcess) -> subprocess.Popen[str]:
    go_program.require_go()
    return go_program.start_scenario("copy", broker.bootstrap, "in", "out", "copiers", str(RECORDS))


@pytest.mark.parametrize(
    ("copier", "portions"),
    # Apache's looks for the end of its work when it begins. The others cannot be done before the broker was killed often
    # enough, because there is something left to come.
    [(java_client, KILLS + 1), (apaches_copier, 1), (go_client, KILLS + 1)],
)
def test_a_copy_is_exact_although_the_broker_is_killed(broker, copier: Copier, portions: int) -> None:
    values = [f"value-{number}" for number in range(RECORDS)]
    size = RECORDS // portions
    waiting = [values[at : at + size] for at in range(0, RECORDS, size)]
    fill(broker.bootstrap, waiting.pop(0))

    process = copier(broker)
    output = Output(process)
    try:
        heard = 0
        for _ in range(KILLS):
            wait_until(
                lambda heard=heard: len(output.lines) > heard + 2 or output.ended,
                "it goes on copying",
                seconds=COPY_SECONDS_MAX,
            )
            assert not output.ended, "the copier was done before the broker was killed often enough"
            broker.kill()
            broker.start()
            heard = len(output.lines)
            if waiting:
                fill(broker.bootstrap, waiting.pop(0))
        process.wait(COPY_SECONDS_MAX)
    finally:
        process.kill()
        output.join()

    assert process.returncode == 0, "\n".join(output.lines[-20:])
    copied = Counter(read_committed(broker.bootstrap, "out"))
    assert copied == Counter(values)


def fill(bootstrap: str, values: list[str]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5})
    for number, value in enumerate(values):
        producer.produce("in", value, partition=number % PARTITIONS)
    assert producer.flush(30) == 0


def read_committed(bootstrap: str, topic: str) -> Iterator[str]:
    """Everything a reader of committed records sees, up to the last stable offset."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checker",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
    open_partitions = PARTITIONS
    try:
        while open_partitions:
            message = consumer.poll(30)
            assert message is not None, "the topic's end is out of reach"
            if message.error():
                open_partitions -= 1
            else:
                yield message.value().decode()
    finally:
        consumer.close()
