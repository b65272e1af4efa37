"""librdkafka is told its throttle time, waits, and loses nothing (KIP-219)."""

from __future__ import annotations

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from broker.client.blocking import Client
from tests.support.broker_process import BrokerProcess

CLIENT_ID = "throttled-librdkafka"
TOPIC = "throttled"


def test_a_throttled_producer_and_consumer_are_told_and_get_everything(broker_process: BrokerProcess) -> None:
    told: list[float] = []
    settings = {
        "bootstrap.servers": broker_process.bootstrap,
        "client.id": CLIENT_ID,
        "throttle_cb": lambda event: told.append(event.throttle_time),
    }
    limits = {
        "quota.producer.byte.rate.overrides": f"{CLIENT_ID}:20000",
        "quota.consumer.byte.rate.overrides": f"{CLIENT_ID}:20000",
    }
    with Client(broker_process.bootstrap) as client:
        client.alter_broker_configs(None, limits)
        try:
            producer = Producer({**settings, "linger.ms": 0, "batch.size": 20_000})
            for number in range(24):
                producer.produce(TOPIC, bytes(9_990) + b"%10d" % number)
                producer.poll(0)
            assert producer.flush(30) == 0
            assert told, "the producer was told to wait"
            assert max(told) > 0.1, "in seconds"
            told.clear()
            consumer = Consumer({**settings, "group.id": TOPIC, "auto.offset.reset": "earliest"})
            consumer.assign([TopicPartition(TOPIC, 0, OFFSET_BEGINNING)])
            got: list[int] = []
            deadline = time.monotonic() + 30
            while len(got) < 24:
                message = consumer.poll(0.2)
                if told:  # it has been made to wait; the rest of the window need not be waited for
                    client.alter_broker_configs(None, dict.fromkeys(limits))
                if message is None:
                    assert time.monotonic() < deadline, f"nothing more after {len(got)} records"
                    continue
                assert message.error() is None
                got.append(int(message.value()[-10:]))
            assert got == list(range(24))
            assert told, "the consumer was told to wait"
            consumer.close()
        finally:
            client.alter_broker_configs(None, dict.fromkeys(limits))
