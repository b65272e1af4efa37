"""A key lands where the client's own partitioner says, as computed here from its published definition."""

from __future__ import annotations

import zlib

import pytest

from broker.client.partitioner import partition_for_key
from tests.interop.clients import WRITERS, Message, read_with_confluent

pytestmark = pytest.mark.interop
PARTITIONS = 7
KEYS = [b"user-%d" % index for index in range(100)] + [b"\x00\xff", "ключ".encode()]


def crc32_partition(key: bytes, partitions: int) -> int:
    """librdkafka's ``consistent_random`` for a keyed record."""
    return zlib.crc32(key) % partitions


@pytest.mark.parametrize(
    ("client", "partitioner"),
    [
        ("confluent-kafka", crc32_partition),
        ("kafka-python", partition_for_key),
        ("aiokafka", partition_for_key),
    ],
)
def test_a_key_lands_in_the_partition_its_client_computes(broker, new_topic, client, partitioner) -> None:
    topic = new_topic(partitions=PARTITIONS)
    records = [Message(key=key, value=b"v") for key in KEYS]

    told = WRITERS[client](broker.bootstrap, topic, records, "none")

    expected = {key: partitioner(key, PARTITIONS) for key in KEYS}
    assert told == expected
    stored = {message.key: message.partition for message in read_with_confluent(broker.bootstrap, topic, len(KEYS))}
    assert stored == expected
