"""The consumer protocol (KIP-848) as librdkafka speaks it: churn, kills, patterns, static members, mixed protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from broker.client.blocking import Client
from tests.interop.groups import Group, group_of, produce
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

NEW = {"protocol": "consumer", "tell": "before"}
COOPERATIVE = {"assignor": "cooperative-sticky", "tell": "before"}
PARTITIONS = 4


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker whose members are heard often and missed soon."""
    with BrokerProcess(
        tmp_path_factory.mktemp("impatient"),
        OTTLA_GROUP_CONSUMER_MIN_HEARTBEAT_INTERVAL_MS="100",
        OTTLA_GROUP_CONSUMER_HEARTBEAT_INTERVAL_MS="300",
        OTTLA_GROUP_CONSUMER_MIN_SESSION_TIMEOUT_MS="1000",
        OTTLA_GROUP_CONSUMER_SESSION_TIMEOUT_MS="5000",
        OTTLA_GROUP_CONSUMER_ASSIGNMENT_INTERVAL_MS="0",
        OTTLA_GROUP_MIN_SESSION_TIMEOUT_MS="1000",
        OTTLA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
    ) as process:
        yield process


@pytest.fixture
def topic(impatient: BrokerProcess, topic_name: Callable[[], str]) -> str:
    name = topic_name()
    create(impatient, name, PARTITIONS)
    return name


def create(broker: BrokerProcess, name: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(timeout=30)


def send(group: Group, word: str, count: int = 60) -> set[str]:
    values = [f"{word}-{number}" for number in range(count)]
    produce(group.bootstrap, group.topic, values)
    return set(values)


def test_nothing_is_lost_while_members_and_the_broker_come_and_go(impatient: BrokerProcess, topic: str) -> None:
    with group_of(impatient.bootstrap, f"{topic}-churn", topic) as group:
        sent = send(group, "first")
        first = group.join("confluent-kafka", **NEW)
        group.wait_shared([first], PARTITIONS)
        second = group.join("confluent-kafka", **NEW)
        group.wait_shared([first, second], PARTITIONS)
        sent |= send(group, "second")
        second.kill()
        group.wait_shared([first], PARTITIONS)
        third = group.join("confluent-kafka", **NEW)
        group.wait_shared([first, third], PARTITIONS)
        impatient.kill()
        impatient.start()
        sent |= send(group, "third")
        group.wait_read(sent)
        group.wait_shared([first, third], PARTITIONS)
        first.leave()
        group.wait_shared([third], PARTITIONS)
        sent |= send(group, "fourth")
        group.wait_read(sent)


def test_a_static_member_comes_back_to_its_partitions_and_nobody_else_notices(
    impatient: BrokerProcess, topic: str
) -> None:
    with group_of(impatient.bootstrap, f"{topic}-static", topic) as group:
        staying = group.join("confluent-kafka", instance="a", **NEW)
        restarted = group.join("confluent-kafka", instance="b", **NEW)
        group.wait_shared([staying, restarted], PARTITIONS)
        before, moves = restarted.assignment, len(staying.assignments)
        restarted.leave()
        back = group.join("confluent-kafka", instance="b", **NEW)
        wait_until(lambda: back.assignment == before, "the same partitions", seconds=30)
        assert len(staying.assignments) == moves


def test_a_pattern_finds_topics_that_come_later(impatient: BrokerProcess, topic: str) -> None:
    with group_of(impatient.bootstrap, f"{topic}-pattern", f"^{topic}-[ab]") as group:
        create(impatient, f"{topic}-a", 1)
        create(impatient, f"{topic}-c", 1)
        member = group.join("confluent-kafka", **NEW)
        produce(impatient.bootstrap, f"{topic}-a", ["early"])
        produce(impatient.bootstrap, f"{topic}-c", ["of no concern"])
        group.wait_read({"early"})
        create(impatient, f"{topic}-b", 1)
        produce(impatient.bootstrap, f"{topic}-b", ["late"])
        group.wait_read({"early", "late"})
        assert not member.ended


def describe(broker: BrokerProcess, group: Group) -> tuple[str, int]:
    with Client(broker.bootstrap) as client:
        found = client.describe_groups([group.name])[group.name]
        return found.type, len(found.members)


def test_a_group_migrates_while_it_reads_and_back(impatient: BrokerProcess, topic: str) -> None:
    with group_of(impatient.bootstrap, f"{topic}-migrating", topic) as group:
        sent = send(group, "classic")
        old = [group.join("confluent-kafka", **COOPERATIVE) for _ in range(2)]
        group.wait_shared(old, PARTITIONS)
        assert describe(impatient, group) == ("classic", 2)
        new = group.join("confluent-kafka", **NEW)
        group.wait_shared([*old, new], PARTITIONS)
        assert describe(impatient, group) == ("consumer", 3)
        sent |= send(group, "mixed")
        group.wait_read(sent)
        old[0].leave()
        group.wait_shared([old[1], new], PARTITIONS)
        late = group.join("confluent-kafka", **COOPERATIVE)
        group.wait_shared([old[1], new, late], PARTITIONS)
        new.leave()
        group.wait_shared([old[1], late], PARTITIONS)
        assert describe(impatient, group) == ("classic", 2)
        sent |= send(group, "classic again")
        group.wait_read(sent)
