"""A retry of an idempotent producer stores each record once, whatever answers the network loses."""

from __future__ import annotations

import pytest

from tests.interop.clients import read_with_confluent
from tests.support.proxy import AnswerDroppingProxy

pytestmark = pytest.mark.interop


def test_lost_answers_lead_to_retries_and_to_no_duplicates(broker, new_topic) -> None:
    from confluent_kafka import Producer

    topic = new_topic(partitions=1)
    with AnswerDroppingProxy(broker.port, drop_every=7) as proxy:
        # The proxy speaks for the broker, so the client must keep to the bootstrap connection's address.
        producer = Producer(
            {
                "bootstrap.servers": f"127.0.0.1:{proxy.port}",
                "enable.idempotence": True,
                "linger.ms": 1,
                "batch.num.messages": 5,
                "retry.backoff.ms": 10,
                "reconnect.backoff.ms": 10,
                "reconnect.backoff.max.ms": 50,
            }
        )
        for index in range(500):
            producer.produce(topic, b"%d" % index)
            producer.poll(0)
        assert producer.flush(60) == 0
        assert proxy.dropped > 0, "the proxy never lost an answer, so nothing was tested"

    values = [message.value for message in read_with_confluent(broker.bootstrap, topic, 500)]
    assert values == [b"%d" % index for index in range(500)]
