"""OpenTelemetry metrics as bytes, written by hand from metrics.proto: the other side of ``client_metrics/otlp.py``."""

from __future__ import annotations

import struct


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(number: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return varint(number << 3 | 2) + varint(len(body)) + body


def text(number: int, value: str) -> bytes:
    return message(number, value.encode())


def number(at: int, value: int) -> bytes:
    return varint(at << 3) + varint(value)


def fixed(at: int, value: int) -> bytes:
    return varint(at << 3 | 1) + struct.pack("<q", value)


def double(at: int, value: float) -> bytes:
    return varint(at << 3 | 1) + struct.pack("<d", value)


def attribute(at: int, key: str, value: str) -> bytes:
    return message(at, text(1, key), message(2, text(1, value)))


def gauge(name: str, value: float, *attributes: bytes, unit: str = "") -> bytes:
    point = message(1, fixed(3, 5_000_000), double(4, value), *attributes)
    return message(2, text(1, name), text(3, unit), message(5, point))


def counter(name: str, value: int, *, delta: bool) -> bytes:
    point = message(1, fixed(3, 5_000_000), fixed(6, value))
    return message(2, text(1, name), message(7, point, number(2, 1 if delta else 2), number(3, 1)))


def histogram(name: str, *, count: int, total: float, low: float, high: float) -> bytes:
    buckets = struct.pack("<2Q", count, 0)
    point = message(1, fixed(4, count), double(5, total), message(6, buckets), double(11, low), double(12, high))
    return message(2, text(1, name), message(9, point, number(2, 1)))


def metrics_data(*metrics: bytes, labels: dict[str, str] | None = None) -> bytes:
    resource = message(1, *(attribute(1, key, value) for key, value in (labels or {}).items()))
    return message(1, resource, message(2, message(1, text(1, "scope")), *metrics))
