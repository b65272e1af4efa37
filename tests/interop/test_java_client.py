"""Apache's Java client, 4.x: records in every codec, admin calls, and what others wrote."""

from __future__ import annotations

import pytest

from tests.interop.apache import require_apache_kafka, scenario
from tests.interop.codecs import it_reads_what_librdkafka_writes, others_read_what_it_writes

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("apache_kafka")]


@pytest.fixture(scope="module")
def apache_kafka() -> None:
    require_apache_kafka()


def test_what_java_writes_in_each_codec_others_read(broker, new_topic) -> None:
    others_read_what_it_writes(scenario, broker.bootstrap, new_topic, "java")


def test_java_reads_what_librdkafka_wrote_in_each_codec(broker, new_topic) -> None:
    it_reads_what_librdkafka_writes(scenario, broker.bootstrap, new_topic)


def test_the_admin_client_gets_what_it_asks_for(broker, topic_name) -> None:
    answers = scenario("admin", broker.bootstrap, topic_name())
    assert answers == {
        "nodes": "1",
        "partitions": "3",
        "by id": "true",
        "retention.ms": "1000000/DYNAMIC_TOPIC_CONFIG",
        "segment.ms": "600000",
        "earliest": "0",
        "latest": "10",
        "max timestamp": "4",
        "for timestamp": "4",
        "beyond": "-1",
        "low watermark": "4",
        "producers": "1",
        "committed": "5/note",
        "groups": "1",
        "log dirs": "1",
        "reassignments": "0",
        "features": "group.version=1,transaction.version=2",
        "left": "false",
    }


def test_transactions_are_seen_whole_or_not_at_all(broker, new_topic) -> None:
    topic = new_topic(partitions=3)

    answers = scenario("transactions", broker.bootstrap, topic, f"{topic}-id")

    assert answers == {"state": "Ongoing", "listed": "1", "read_committed": "20", "read_uncommitted": "30"}


def test_a_zombie_producer_is_fenced_by_its_heir(broker, new_topic) -> None:
    assert scenario("fence", broker.bootstrap, new_topic()) == {"zombie": "fenced", "heir": "committed"}
