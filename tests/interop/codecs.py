"""What a client in another language writes in every codec, others read, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.interop.clients import CODECS, READERS, WRITERS, Message

COUNT = 50

Scenario = Callable[..., Mapping[str, str]]
"""Has the other program do something on a broker, and tells what it said."""


def others_read_what_it_writes(
    scenario: Scenario, bootstrap: str, new_topic: Callable[..., str], language: str
) -> None:
    topics = {codec: new_topic(partitions=2) for codec in CODECS}

    scenario("write", bootstrap, ",".join(f"{topic}:{codec}" for codec, topic in topics.items()), str(COUNT))

    for topic in topics.values():
        found = READERS["confluent-kafka"](bootstrap, topic, COUNT)
        assert sorted(message.content for message in found) == sorted(
            (b"key-%d" % index, b"value-%d" % index, (("trace", language.encode()),)) for index in range(COUNT)
        )


def it_reads_what_librdkafka_writes(scenario: Scenario, bootstrap: str, new_topic: Callable[..., str]) -> None:
    topics = {codec: new_topic(partitions=2) for codec in CODECS}
    records = [Message(key=b"key-%02d" % index, value=b"value-%d" % index) for index in range(COUNT)]
    for codec, topic in topics.items():
        WRITERS["confluent-kafka"](bootstrap, topic, records, codec)

    found = scenario("read", bootstrap, ",".join(topics.values()), str(COUNT))

    expected = ",".join(f"key-{index:02}:value-{index}" for index in range(COUNT))
    assert {topic: found[topic] for topic in topics.values()} == dict.fromkeys(topics.values(), expected)
