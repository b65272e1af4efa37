"""The same data written by one client is read by every other, with each codec."""

from __future__ import annotations

import pytest

from tests.interop.clients import CODECS, READERS, WRITERS, Message
from tests.support.requires import require_tool

pytestmark = pytest.mark.interop
HEADERS = (("trace", b"7f3a"), ("source", b"interop"))
RECORDS = [
    Message(key=b"key-%d" % index, value=b"value-%d-" % index + b"x" * (index % 50), headers=HEADERS)
    for index in range(200)
]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("writer", WRITERS)
def test_what_one_client_writes_every_client_reads(broker, new_topic, writer, codec) -> None:
    if writer == "kcat":
        require_tool("kcat")
    topic = new_topic(partitions=3)

    WRITERS[writer](broker.bootstrap, topic, RECORDS, codec)

    expected = sorted(record.content for record in RECORDS)
    for name, read in READERS.items():
        if name == "kcat":
            require_tool("kcat")
        found = read(broker.bootstrap, topic, len(RECORDS))
        assert sorted(message.content for message in found) == expected, f"{name} read something else"
        for partition in range(3):
            offsets = [message.offset for message in found if message.partition == partition]
            assert offsets == list(range(len(offsets))), f"{name} saw gaps in partition {partition}"


@pytest.mark.parametrize("reader", [name for name in READERS if name != "kcat"])
def test_tombstones_empty_values_and_null_keys_keep_their_difference(broker, new_topic, reader) -> None:
    topic = new_topic(partitions=1)
    records = [
        Message(key=b"deleted", value=None),
        Message(key=b"empty", value=b""),
        Message(key=None, value=b"keyless"),
        Message(key=b"binary", value=bytes(range(256))),
    ]

    WRITERS["confluent-kafka"](broker.bootstrap, topic, records, "none")

    found = READERS[reader](broker.bootstrap, topic, len(records))
    assert [(message.key, message.value) for message in found] == [(record.key, record.value) for record in records]
