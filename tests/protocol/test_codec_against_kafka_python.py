"""kafka-python has Kafka's original schema files and its own codec: an opinion that does not come from kio."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.protocol.messages import message_class
from tests.protocol import kafka_python
from tests.protocol.oracle import SERVED_MESSAGES, served_versions
from tests.protocol.strategies import messages
from tests.protocol.test_codec import encode

UNKNOWN_TO_KAFKA_PYTHON = {
    "alter_partition",
    "consumer_group_describe",
    "consumer_group_heartbeat",
    "get_telemetry_subscriptions",
    "push_telemetry",
    "unregister_broker",
}


def test_kafka_python_does_not_know_the_messages_left_out_here() -> None:
    known = [
        api for api in UNKNOWN_TO_KAFKA_PYTHON if kafka_python.message_class(message_class(api, "request").__name__)
    ]
    assert known == []


@pytest.mark.parametrize(
    ("api", "direction"), [message for message in SERVED_MESSAGES if message[0] not in UNKNOWN_TO_KAFKA_PYTHON]
)
def test_kafka_python_reads_our_bytes_and_writes_them_again(api: str, direction: str) -> None:
    cls = kafka_python.message_class(message_class(api, direction).__name__)  # type: ignore[arg-type]
    assert cls is not None, "kafka-python does not have this message: leave it out by name above"
    versions = [version for version in served_versions(api) if version <= cls.max_version]

    @settings(max_examples=2 * len(versions))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(versions))
        message = data.draw(messages(api, direction, version))
        if (api, direction) == ("api_versions", "response"):
            message.error_code = 0  # with any other, its reader falls back to v0, as a client has to
        body = encode(api, direction, version, message)
        assert kafka_python.reencode(cls, version, body) == body

    check()
