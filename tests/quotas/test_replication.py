"""A rate for copying replicas, over Kafka's window of eleven seconds."""

from __future__ import annotations

from broker.config.definition import LONG_MAX
from broker.quotas.replication import ReplicationThrottle, is_throttled


def test_without_a_rate_nothing_is_asked() -> None:
    throttle = ReplicationThrottle()
    assert not throttle.active
    throttle.configure(1_000)
    assert throttle.active
    throttle.configure(LONG_MAX)
    assert not throttle.active


def test_the_rate_is_exceeded_until_the_window_has_passed() -> None:
    throttle = ReplicationThrottle()
    throttle.configure(1_000)
    assert not throttle.is_exceeded(0)
    throttle.record(20_000, 0)
    assert throttle.is_exceeded(1)
    assert throttle.is_exceeded(9_000)
    assert not throttle.is_exceeded(11_000)
    assert throttle.bytes_total == 20_000


def test_a_rate_of_nothing_stops_everything() -> None:
    throttle = ReplicationThrottle()
    throttle.configure(0)
    assert throttle.is_exceeded(0)


def test_topics_name_partition_and_broker_or_everything() -> None:
    assert is_throttled(("*",), 7, 3)
    assert is_throttled(("0:1", "7:3"), 7, 3)
    assert not is_throttled(("7:1", "3:7"), 7, 3)
    assert not is_throttled((), 7, 3)
