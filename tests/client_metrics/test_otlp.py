from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker import limits
from broker.client_metrics.otlp import MalformedProtobuf, decode_metrics
from broker.protocol.private import MetricPoint
from tests.client_metrics import writer as w


def test_every_kind_of_metric_is_read_with_the_clients_labels() -> None:
    data = w.metrics_data(
        w.gauge("org.apache.kafka.consumer.lag", 1.5, w.attribute(7, "topic", "t"), unit="records"),
        w.counter("requests", -3, delta=True),
        w.counter("connections", 9, delta=False),
        w.histogram("rtt", count=4, total=10.0, low=1.0, high=6.0),
        labels={"client_rack": "r1"},
    )
    rack = {"client_rack": "r1"}
    assert decode_metrics(data).points == [
        MetricPoint(
            name="org.apache.kafka.consumer.lag",
            kind="gauge",
            value=1.5,
            unit="records",
            time_ms=5,
            attributes={**rack, "topic": "t"},
        ),
        MetricPoint(name="requests", kind="sum", value=-3.0, delta=True, time_ms=5, attributes=rack),
        MetricPoint(name="connections", kind="sum", value=9.0, time_ms=5, attributes=rack),
        MetricPoint(name="rtt", kind="histogram", value=2.5, delta=True, count=4, low=1.0, high=6.0, attributes=rack),
    ]


def test_a_resource_may_come_behind_its_metrics_and_values_of_any_type_are_text() -> None:
    values = w.message(1, w.text(1, "n"), w.message(2, w.number(3, -7)))
    values += w.message(1, w.text(1, "b"), w.message(2, w.number(2, 1)))
    values += w.message(1, w.text(1, "d"), w.message(2, w.double(4, 0.5)))
    data = w.message(1, w.message(2, w.gauge("g", 0.0)), w.message(1, values))
    assert decode_metrics(data).points[0].attributes == {"n": "-7", "b": "true", "d": "0.5"}


def test_what_is_unknown_is_skipped() -> None:
    newer = w.number(99, 7) + w.fixed(98, 1) + w.message(97, b"\xff" * 9) + w.message(10, b"\x08\x01")
    data = w.message(1, newer, w.message(2, w.message(2, newer, w.text(1, "g")))) + newer
    assert decode_metrics(data).points == []


def test_points_attributes_and_texts_are_bounded() -> None:
    many = [w.gauge("g" * 1_000, 0.0, *(w.attribute(7, f"k{n}", "v" * 999) for n in range(30)))]
    many += [w.gauge(f"g{number}", 1.0) for number in range(limits.CLIENT_METRICS_POINTS_MAX + 5)]
    push = decode_metrics(w.metrics_data(*many))
    assert (len(push.points), push.left_out) == (limits.CLIENT_METRICS_POINTS_MAX, 6)
    first = push.points[0]
    assert len(first.name) == limits.CLIENT_METRICS_TEXT_LENGTH_MAX
    assert len(first.attributes) == limits.CLIENT_METRICS_ATTRIBUTES_MAX
    assert {len(value) for value in first.attributes.values()} == {limits.CLIENT_METRICS_TEXT_LENGTH_MAX}


def test_a_flood_of_tiny_fields_is_refused_before_it_costs_time() -> None:
    began = time.monotonic()
    for flood in (b"\x0a\x00" * 4_000_000, w.message(1, w.message(2, b"\x12\x00" * 4_000_000))):
        with pytest.raises(MalformedProtobuf, match="too many fields"):
            decode_metrics(flood)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "data",
    [
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0a",
        b"\x09\x01",
        b"\x0d\x01",
        b"\x0b",
        b"\x02\x00",
        b"\x80" * 11,
        b"\xff",
        w.message(1, w.message(2, w.message(2, w.message(5, w.message(1, b"\x21\x00"))))),
    ],
    ids=repr,
)
def test_what_is_no_message_is_malformed_and_nothing_else(data: bytes) -> None:
    with pytest.raises(MalformedProtobuf):
        decode_metrics(data)


@settings(max_examples=100)
@given(st.binary(max_size=400))
def test_random_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        decode_metrics(data)
    except MalformedProtobuf:
        return


def test_every_mutation_of_a_good_push_is_read_or_malformed() -> None:
    dice = random.Random(7)
    good = w.metrics_data(w.gauge("g", 1.0), w.histogram("h", count=1, total=1.0, low=1.0, high=1.0), labels={"a": "b"})
    outcomes = set()
    for _ in range(2_000):
        bad = bytearray(good)
        bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
        try:
            outcomes.add(len(decode_metrics(bytes(bad)).points))
        except MalformedProtobuf:
            outcomes.add(-1)
    assert {-1, 2} <= outcomes
