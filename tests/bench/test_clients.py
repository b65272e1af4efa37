"""The programs that load a broker in benchmarks: they count what arrived, so a broken one cannot look fast."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench import librdkafka, native, raw
from tests.support.broker_process import BrokerProcess


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("bench"), OTTLA_ACK_DURABILITY="os") as process:
        yield process


def test_librdkafka_writes_and_reads_by_assignment_and_as_a_group(broker) -> None:
    raw.create_topic(broker.port, "native", partitions=4)

    written = native.produce(broker.bootstrap, "native", count=20_000, record_bytes=50, partitions=4, acks="all")
    assigned = native.consume(broker.bootstrap, "native", count=20_000, record_bytes=50, partitions=4)
    grouped = native.consume_as_group(
        broker.bootstrap, "native", count=20_000, record_bytes=50, partitions=4, group="native-group"
    )

    assert written.records == assigned.records == grouped.records == 20_000


def test_a_record_that_cannot_be_sent_is_said(broker) -> None:
    raw.create_topic(broker.port, "small")

    with pytest.raises(RuntimeError, match="refuses a record of 2000000 bytes"):
        native.produce(broker.bootstrap, "small", count=1, record_bytes=2_000_000, acks="1")


def test_end_to_end_latency_has_a_sample_per_record(broker) -> None:
    raw.create_topic(broker.port, "latency")

    latency = librdkafka.end_to_end(broker.bootstrap, "latency", rate=200, seconds=0.5, acks="1")

    assert latency.samples == 100
    assert 0 < latency.p50_ms <= latency.p99_ms <= latency.max_ms
