"""Requests cut off behind an array count that cannot be: one for every array field of every version of an API.

Made from Kafka's schemas, so an API that is served from tomorrow on is attacked from tomorrow on. Everything before the
count is minimal and right, so the reader gets that far.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from broker.protocol import schema
from broker.protocol.header import request_header
from broker.protocol.registry import ApiSpec, kio_name
from broker.protocol.schema import FieldSpec, StructSpec

BEHIND = b"\0" * 12
"""Some bytes follow, as many as a small array would need."""
_SIZES = {"bool": 1, "int8": 1, "int16": 2, "uint16": 2, "int32": 4, "int64": 8, "float64": 8, "uuid": 16}


def attacks(spec: ApiSpec, version: int) -> Iterator[tuple[str, bytes]]:
    """(field, request without its length): a huge count, and one that is just more than the bytes that are left."""
    head = request_header(spec.key, version, 1, "absurd")
    root = schema.load(kio_name(spec.key), "request")[version]
    for path, before in _arrays(root):
        for count in (2**31 - 1, len(BEHIND) + 20):
            yield f"{path}={count}", head + before + _count(count, root.flexible) + BEHIND


def _arrays(message: StructSpec) -> Iterator[tuple[str, bytes]]:
    """(path, everything before the array's count) of every array, nested ones and tagged ones included."""
    before = b""
    for field in message.fields:
        if field.tag is None:
            for path, bytes_before in _arrays_of(field, message.flexible):
                yield path, before + bytes_before
            before += _minimal(field, message.flexible)
    for field in message.fields:
        if field.tag is not None:
            for path, bytes_before in _arrays_of(field, message.flexible):
                size = len(bytes_before) + 5 + len(BEHIND)
                yield path, before + b"\x01" + _varint(field.tag) + _varint(size) + bytes_before


def _arrays_of(field: FieldSpec, flexible: bool) -> Iterator[tuple[str, bytes]]:
    if field.is_array:
        yield field.name, b""
    if field.struct is not None:
        opening = _count(1, flexible) if field.is_array else b"\x01" if field.nullable else b""
        for path, before in _arrays(field.struct):
            yield f"{field.name}.{path}", opening + before


def _minimal(field: FieldSpec, flexible: bool) -> bytes:
    if field.is_array:
        return _count(0, flexible)
    if field.kind in _SIZES:
        return bytes(_SIZES[field.kind])
    if field.kind == "struct":
        assert field.struct is not None
        if field.nullable:
            return b"\xff"
        body = b"".join(_minimal(inner, flexible) for inner in field.struct.fields if inner.tag is None)
        return body + (b"\0" if flexible else b"")
    if flexible:
        return b"\x01"
    return bytes(2 if field.kind == "string" else 4)


def _count(count: int, flexible: bool) -> bytes:
    return _varint(count + 1) if flexible else struct.pack(">i", count)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
