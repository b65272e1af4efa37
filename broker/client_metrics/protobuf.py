"""Protocol buffers as far as reading them goes: fields of one message, one after the other. Pure.

Used by ``otlp.py`` for bytes that any client may send. What must stay true: it does not copy, nothing is allocated for
a length that was only claimed, every malformed message ends in ``MalformedProtobuf``, never in anything else, and a
``Budget`` bounds the fields of one message and all in it, because a field costs two bytes to send and a microsecond to read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10
_fixed64 = struct.Struct("<Q").unpack_from
_fixed32 = struct.Struct("<I").unpack_from


class MalformedProtobuf(ValueError):
    """Bytes that are no message."""


class Budget:
    """Fields that may still be read."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


def fields(message: memoryview, budget: Budget) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value): an unsigned int, or the bytes of a length-delimited field."""
    at, end = 0, len(message)
    while at < end:
        budget.left -= 1
        if budget.left < 0:
            raise MalformedProtobuf("too many fields")
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        value: int | memoryview
        try:
            match wire_type:
                case 0:
                    value, at = _varint(message, at)
                case 1:
                    (value,) = _fixed64(message, at)
                    at += 8
                case 2:
                    length, at = _varint(message, at)
                    if length > end - at:
                        raise MalformedProtobuf(f"a field of {length} bytes with {end - at} left")
                    value = message[at : at + length]
                    at += length
                case 5:
                    (value,) = _fixed32(message, at)
                    at += 4
                case other:
                    raise MalformedProtobuf(f"wire type {other}")
        except struct.error:
            raise MalformedProtobuf("a number is cut off") from None
        if number == 0:
            raise MalformedProtobuf("field number 0")
        yield number, wire_type, value


def double(value: int) -> float:
    """The double behind a FIXED64."""
    number: float = struct.unpack("<d", value.to_bytes(8, "little"))[0]
    return number


def signed(value: int) -> int:
    """The int64 behind a varint or an sfixed64."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_VARINT_BYTES_MAX):
        if at + index >= len(message):
            raise MalformedProtobuf("a varint is cut off")
        byte = message[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise MalformedProtobuf("a varint of more than ten bytes")
