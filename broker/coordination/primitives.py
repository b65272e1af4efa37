"""Kafka's primitive types in the keys and values of coordinators' records, as bytes.

Owns: writing them, and a reader that never goes past the end of what it was given. A string that is written was
measured where it entered; one that is read may be anything.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from broker.types import Buffer

STRING_BYTES_MAX = 32_767

INT16 = struct.Struct(">h")
INT32 = struct.Struct(">i")
INT64 = struct.Struct(">q")


class MalformedRecord(ValueError):
    """Bytes that are not what their version says. Never raised for a merely unknown key version."""


def put_string(text: str) -> bytes:
    raw = text.encode()
    assert len(raw) <= STRING_BYTES_MAX, "checked where the string entered"
    return INT16.pack(len(raw)) + raw


def put_nullable_string(text: str | None) -> bytes:
    return b"\xff\xff" if text is None else put_string(text)


def put_compact_string(text: str) -> bytes:
    raw = text.encode()
    return put_uvarint(len(raw) + 1) + raw


def put_uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def put_compact_nullable_string(text: str | None) -> bytes:
    return b"\x00" if text is None else put_compact_string(text)


def put_compact_bytes(raw: bytes) -> bytes:
    return put_uvarint(len(raw) + 1) + raw


def put_compact_count(count: int) -> bytes:
    """What stands before the elements of a compact array."""
    return put_uvarint(count + 1)


def put_tagged_fields(fields: Mapping[int, bytes]) -> bytes:
    parts = [put_uvarint(len(fields))]
    for tag, raw in sorted(fields.items()):
        parts += (put_uvarint(tag), put_uvarint(len(raw)), raw)
    return b"".join(parts)


class Reader:
    """Reads Kafka's primitive types and never past the end."""

    __slots__ = ("_position", "_view")

    def __init__(self, view: Buffer) -> None:
        self._view = bytes(view)
        self._position = 0

    @property
    def remaining(self) -> int:
        return len(self._view) - self._position

    def _take(self, size: int) -> bytes:
        end = self._position + size
        if size < 0 or end > len(self._view):
            raise MalformedRecord(f"{size} bytes wanted, {self.remaining} left")
        taken = self._view[self._position : end]
        self._position = end
        return taken

    def int8(self) -> int:
        return int.from_bytes(self._take(1), "big", signed=True)

    def int16(self) -> int:
        return INT16.unpack(self._take(2))[0]

    def int32(self) -> int:
        return INT32.unpack(self._take(4))[0]

    def int64(self) -> int:
        return INT64.unpack(self._take(8))[0]

    def uvarint(self) -> int:
        number = 0
        for shift in range(0, 35, 7):
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise MalformedRecord("a varint longer than five bytes")

    def uuid(self) -> bytes:
        return self._take(16)

    def nullable_string(self) -> str | None:
        size = self.int16()
        return None if size == -1 else self._text(size)

    def string(self) -> str:
        return self._text(self.int16())

    def compact_nullable_string(self) -> str | None:
        size = self.uvarint() - 1
        return None if size == -1 else self._text(size)

    def compact_string(self) -> str:
        return self._text(self.uvarint() - 1)

    def bytes_(self) -> bytes:
        return self._take(self.int32())

    def compact_bytes(self) -> bytes:
        return self._take(self.uvarint() - 1)

    def nullable_count(self, *, compact: bool) -> int:
        """The length of an array that may be null, which counts as 0."""
        count = self.uvarint() - 1 if compact else self.int32()
        if not -1 <= count <= self.remaining:
            raise MalformedRecord(f"{count} elements in {self.remaining} bytes")
        return max(count, 0)

    def compact_count(self, bytes_each: int) -> int:
        """The length of a compact array, refused when the bytes left cannot hold that many."""
        count = self.uvarint() - 1
        if not 0 <= count * bytes_each <= self.remaining:
            raise MalformedRecord(f"{count} elements in {self.remaining} bytes")
        return count

    def tagged_fields(self) -> dict[int, bytes]:
        fields = {}
        for _ in range(self.uvarint()):
            tag = self.uvarint()
            fields[tag] = self._take(self.uvarint())
        return fields

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError as error:
            raise MalformedRecord("a string that is not UTF-8") from error
