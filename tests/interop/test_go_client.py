"""franz-go, the Go client that uses the newest versions of the most APIs."""

from __future__ import annotations

import pytest

from tests.interop.clients import CODECS, READERS, WRITERS, Message
from tests.interop.go_program import BUILD_SECONDS_MAX, require_go, scenario

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("go"), pytest.mark.timeout(BUILD_SECONDS_MAX + 60)]
COUNT = 50


@pytest.fixture(scope="module")
def go() -> None:
    require_go()


def test_what_go_writes_in_each_codec_others_read(broker, new_topic) -> None:
    topics = {codec: new_topic(partitions=2) for codec in CODECS}

    scenario("write", broker.bootstrap, ",".join(f"{topic}:{codec}" for codec, topic in topics.items()), str(COUNT))

    for topic in topics.values():
        found = READERS["confluent-kafka"](broker.bootstrap, topic, COUNT)
        assert sorted(message.content for message in found) == sorted(
            (b"key-%d" % index, b"value-%d" % index, (("trace", b"go"),)) for index in range(COUNT)
        )


def test_go_reads_what_librdkafka_wrote_in_each_codec(broker, new_topic) -> None:
    topics = {codec: new_topic(partitions=2) for codec in CODECS}
    records = [Message(key=b"key-%02d" % index, value=b"value-%d" % index) for index in range(COUNT)]
    for codec, topic in topics.items():
        WRITERS["confluent-kafka"](broker.bootstrap, topic, records, codec)

    found = scenario("read", broker.bootstrap, ",".join(topics.values()), str(COUNT))

    expected = ",".join(f"key-{index:02}:value-{index}" for index in range(COUNT))
    assert {topic: found[topic] for topic in topics.values()} == dict.fromkeys(topics.values(), expected)


def test_its_admin_client_gets_what_it_asks_for(broker, topic_name) -> None:
    assert scenario("admin", broker.bootstrap, topic_name()) == {
        "partitions": "3",
        "retention.ms": "1000000",
        "written": "10",
        "producers known": "true",
        "committed": "5",
        "left": "false",
    }


def test_transactions_are_seen_whole_or_not_at_all(broker, new_topic) -> None:
    answers = scenario("transactions", broker.bootstrap, new_topic(partitions=3))

    assert answers == {"read_committed": "20", "read_uncommitted": "30"}
