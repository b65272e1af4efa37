"""The values in a client's metrics push: OpenTelemetry's ``MetricsData`` (metrics.proto, v1), as KIP-714 prescribes. Pure.

Owns: which fields of that message mean something to us: the resource's attributes are the client's labels and go to every
point; exemplars, bucket counts and exponential histograms are skipped. Anything unknown is skipped as well, so newer clients
are understood. The result is bounded whatever is sent: points, attributes and the length of every text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from broker.client_metrics.protobuf import (
    FIXED64,
    LENGTH_DELIMITED,
    VARINT,
    Budget,
    MalformedProtobuf,
    double,
    fields,
    signed,
)
from broker.limits import (
    CLIENT_METRICS_ATTRIBUTES_MAX,
    CLIENT_METRICS_FIELDS_MAX,
    CLIENT_METRICS_POINTS_MAX,
    CLIENT_METRICS_TEXT_LENGTH_MAX,
)
from broker.protocol.private import MetricPoint

_DELTA = 1
_NUMBER_KINDS = {5: "gauge", 7: "sum"}
_DISTRIBUTION_KINDS = {9: "histogram", 11: "summary"}
_NANOSECONDS_PER_MS = 1_000_000


@dataclass(slots=True)
class Push:
    points: list[MetricPoint] = field(default_factory=list)
    """In the order of the message, at most ``CLIENT_METRICS_POINTS_MAX``."""
    left_out: int = 0
    """Points beyond that."""
    budget: Budget = field(default_factory=lambda: Budget(CLIENT_METRICS_FIELDS_MAX))


def decode_metrics(data: bytes) -> Push:
    """Raises ``MalformedProtobuf``."""
    push = Push()
    for number, _, resource_metrics in _messages(memoryview(data), push.budget):
        if number == 1:
            _resource_metrics(resource_metrics, push)
    return push


def _resource_metrics(message: memoryview, push: Push) -> None:
    labels: dict[str, str] = {}
    scopes = []
    for number, _, value in _messages(message, push.budget):
        if number == 1:
            for inner, _, attribute in _messages(value, push.budget):
                if inner == 1:
                    _attribute(attribute, labels, push.budget)
        elif number == 2:
            scopes.append(value)
    for scope in scopes:
        for number, _, metric in _messages(scope, push.budget):
            if number == 2:
                _metric(metric, labels, push)


def _metric(message: memoryview, labels: dict[str, str], push: Push) -> None:
    name = unit = ""
    data: list[tuple[int, memoryview]] = []
    for number, _, value in _messages(message, push.budget):
        if number == 1:
            name = _text(value)
        elif number == 3:
            unit = _text(value)
        elif number in _NUMBER_KINDS or number in _DISTRIBUTION_KINDS:
            data.append((number, value))
    for number, body in data:
        kind = _NUMBER_KINDS.get(number) or _DISTRIBUTION_KINDS[number]
        delta = False
        points = []
        for inner, wire_type, content in fields(body, push.budget):
            if inner == 1 and isinstance(content, memoryview):
                points.append(content)
            elif inner == 2 and wire_type == VARINT:
                delta = content == _DELTA
        for point in points:
            if len(push.points) >= CLIENT_METRICS_POINTS_MAX:
                push.left_out += 1
            elif number in _NUMBER_KINDS:
                push.points.append(
                    _number_point(point, labels, push.budget, name=name, unit=unit, kind=kind, delta=delta)
                )
            else:
                push.points.append(
                    _distribution_point(point, labels, push.budget, name=name, unit=unit, kind=kind, delta=delta)
                )


def _number_point(
    message: memoryview, labels: dict[str, str], budget: Budget, *, name: str, unit: str, kind: str, delta: bool
) -> MetricPoint:
    attributes = dict(labels)
    value, time_ms = 0.0, -1
    for number, wire_type, raw in fields(message, budget):
        if isinstance(raw, memoryview):
            if number == 7:
                _attribute(raw, attributes, budget)
        elif wire_type == FIXED64 and number == 3:
            time_ms = raw // _NANOSECONDS_PER_MS
        elif wire_type == FIXED64 and number == 4:
            value = double(raw)
        elif wire_type == FIXED64 and number == 6:
            value = float(signed(raw))
    return MetricPoint(
        name=name, unit=unit, kind=kind, delta=delta, value=value, time_ms=time_ms, attributes=attributes
    )


def _distribution_point(
    message: memoryview, labels: dict[str, str], budget: Budget, *, name: str, unit: str, kind: str, delta: bool
) -> MetricPoint:
    """A histogram or summary as its mean, with count, smallest and largest where the client told them."""
    attributes = dict(labels)
    attributes_at = 9 if kind == "histogram" else 7
    count, total, low, high, time_ms = 0, 0.0, None, None, -1
    for number, wire_type, raw in fields(message, budget):
        if isinstance(raw, memoryview):
            if number == attributes_at:
                _attribute(raw, attributes, budget)
        elif wire_type == FIXED64 and number == 3:
            time_ms = raw // _NANOSECONDS_PER_MS
        elif wire_type == FIXED64 and number == 4:
            count = raw
        elif wire_type == FIXED64 and number == 5:
            total = double(raw)
        elif wire_type == FIXED64 and number == 11:
            low = double(raw)
        elif wire_type == FIXED64 and number == 12:
            high = double(raw)
    return MetricPoint(
        name=name,
        unit=unit,
        kind=kind,
        delta=delta,
        value=total / count if count else 0.0,
        time_ms=time_ms,
        attributes=attributes,
        count=count,
        low=low,
        high=high,
    )


def _attribute(message: memoryview, attributes: dict[str, str], budget: Budget) -> None:
    key, text = "", ""
    for number, _, value in _messages(message, budget):
        if number == 1:
            key = _text(value)
        elif number == 2:
            text = _any_value(value, budget)
    if len(attributes) < CLIENT_METRICS_ATTRIBUTES_MAX or key in attributes:
        attributes[key] = text


def _any_value(message: memoryview, budget: Budget) -> str:
    for number, _, value in fields(message, budget):
        if isinstance(value, memoryview):
            return _text(value) if number == 1 else ""
        match number:
            case 2:
                return "true" if value else "false"
            case 3:
                return str(signed(value))
            case 4:
                return repr(double(value))
    return ""


def _text(raw: memoryview) -> str:
    """Cut before it is decoded; a character cut in half becomes a replacement character."""
    return str(raw[:CLIENT_METRICS_TEXT_LENGTH_MAX], "utf-8", "replace")


def _messages(message: memoryview, budget: Budget) -> Iterator[tuple[int, int, memoryview]]:
    """The length-delimited fields only; the others of these messages mean nothing to us."""
    for number, wire_type, value in fields(message, budget):
        if wire_type == LENGTH_DELIMITED:
            assert isinstance(value, memoryview)
            yield number, wire_type, value


__all__ = ["MalformedProtobuf", "Push", "decode_metrics"]
