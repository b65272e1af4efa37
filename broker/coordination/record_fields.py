"""Kafka's primitive types as they stand in the records of coordinators.

Owns: writing and reading them, in the classic and in the flexible (compact, tagged) encoding. Called by the record
modules of coordinators; the messages of the wire have their own compiled codec (``protocol/codec.py``).
Nothing is ever read past the end: a record may have been written by anybody.
"""

from __future__ import annotations

import struct

from broker.types import Buffer

_INT8 = struct.Struct(">b")
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")
STRING_BYTES_MAX = 2**15 - 1


class MalformedRecord(ValueError):
    """The bytes are not what this record type promises."""


def int8(number: int) -> bytes:
    return _INT8.pack(number)


def int16(number: int) -> bytes:
    return _INT16.pack(number)


def int32(number: int) -> bytes:
    return _INT32.pack(number)


def int64(number: int) -> bytes:
    return _INT64.pack(number)


def string(text: str) -> bytes:
    raw = text.encode()
    assert len(raw) <= STRING_BYTES_MAX, "checked where the string entered"
    return _INT16.pack(len(raw)) + raw


def compact_string(text: str) -> bytes:
    raw = text.encode()
    return uvarint(len(raw) + 1) + raw


def uvarint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def tagged_fields(fields: dict[int, bytes]) -> bytes:
    parts = [uvarint(len(fields))]
    for tag, raw in sorted(fields.items()):
        parts += (uvarint(tag), uvarint(len(raw)), raw)
    return b"".join(parts)


class FieldReader:
    """Reads one field after the other. Raises ``MalformedRecord``."""

    __slots__ = ("_position", "_view")

    def __init__(self, view: Buffer) -> None:
        self._view = bytes(view)
        self._position = 0

    @property
    def remaining(self) -> int:
        return len(self._view) - self._position

    def int8(self) -> int:
        return int(_INT8.unpack(self._take(1))[0])

    def int16(self) -> int:
        return int(_INT16.unpack(self._take(2))[0])

    def int32(self) -> int:
        return int(_INT32.unpack(self._take(4))[0])

    def int64(self) -> int:
        return int(_INT64.unpack(self._take(8))[0])

    def uvarint(self) -> int:
        number = 0
        for shift in range(0, 35, 7):
            byte = self._take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise MalformedRecord("a varint longer than five bytes")

    def string(self) -> str:
        return self._text(self.int16())

    def compact_string(self) -> str:
        return self._text(self.uvarint() - 1)

    def count(self, *, compact: bool) -> int | None:
        """Elements of an array; ``None`` for a null array. Never more than there are bytes left."""
        count = self.uvarint() - 1 if compact else self.int32()
        if count == -1:
            return None
        if not 0 <= count <= self.remaining:
            raise MalformedRecord(f"{count} elements in {self.remaining} bytes")
        return count

    def tagged_fields(self) -> dict[int, bytes]:
        fields = {}
        for _ in range(self.uvarint()):
            tag = self.uvarint()
            fields[tag] = self._take(self.uvarint())
        return fields

    def _take(self, size: int) -> bytes:
        end = self._position + size
        if size < 0 or end > len(self._view):
            raise MalformedRecord(f"{size} bytes wanted, {self.remaining} left")
        taken = self._view[self._position : end]
        self._position = end
        return taken

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode()
        except UnicodeDecodeError as error:
            raise MalformedRecord("a string that is not UTF-8") from error
