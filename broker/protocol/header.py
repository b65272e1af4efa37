"""Request and response headers.

Request header v1 (key, version, correlation id, client id) belongs to non-flexible versions, v2 adds tagged fields;
the client id is a classic nullable string in both. Response header v0 is the correlation id, v1 adds tagged fields,
and ApiVersions always answers with v0, because a client that does not know our versions must be able to read it.
Frames here are without their length prefix.
"""

from __future__ import annotations

import struct

from broker.protocol.api import ApiKey
from broker.protocol.malformed import MalformedMessage
from broker.protocol.reader import read_varint
from broker.protocol.registry import is_flexible
from broker.types import Buffer

_FIXED = struct.Struct(">hhih")
_CORRELATION_ID = struct.Struct(">i")
_FLEXIBLE_RESPONSE = struct.Struct(">ix")
_API_VERSIONS = int(ApiKey.API_VERSIONS)

TAG_COUNT_MAX = 256
"""More tagged fields than this in a header are an attack on our time, not a client."""


def parse_request_header(frame: memoryview) -> tuple[int, int, int, str | None, int]:
    """(api key, version, correlation id, client id, where the body starts). Raises ``MalformedMessage``."""
    try:
        api_key, version, correlation_id, length = _FIXED.unpack_from(frame)
    except struct.error:
        raise MalformedMessage(f"a frame of {len(frame)} bytes has no request header") from None
    at = _FIXED.size
    client_id: str | None = None
    if length >= 0:
        start, at = at, at + length
        if at > len(frame):
            raise MalformedMessage("the client id runs past the frame")
        try:
            client_id = str(frame[start:at], "utf-8")
        except UnicodeDecodeError:
            raise MalformedMessage("the client id is not UTF-8") from None
    elif length != -1:
        raise MalformedMessage(f"the client id has length {length}")
    if is_flexible(api_key, version):
        at = _skip_tags(frame, at)
    return api_key, version, correlation_id, client_id, at


def request_header(api_key: int, version: int, correlation_id: int, client_id: str | None) -> bytes:
    name = b"" if client_id is None else client_id.encode()
    length = -1 if client_id is None else len(name)
    tags = b"\x00" if is_flexible(api_key, version) else b""
    return _FIXED.pack(api_key, version, correlation_id, length) + name + tags


def response_header(api_key: int, version: int, correlation_id: int) -> bytes:
    if api_key != _API_VERSIONS and is_flexible(api_key, version):
        return _FLEXIBLE_RESPONSE.pack(correlation_id)
    return _CORRELATION_ID.pack(correlation_id)


def skip_response_header(api_key: int, version: int, frame: Buffer) -> tuple[int, int]:
    """(correlation id, where the body starts). Raises ``MalformedMessage``."""
    try:
        correlation_id: int = _CORRELATION_ID.unpack_from(frame)[0]
    except struct.error:
        raise MalformedMessage(f"a frame of {len(frame)} bytes has no response header") from None
    at = _CORRELATION_ID.size
    if api_key != _API_VERSIONS and is_flexible(api_key, version):
        at = _skip_tags(frame, at)
    return correlation_id, at


def _skip_tags(frame: Buffer, at: int) -> int:
    try:
        count = frame[at]
        at += 1
        if count == 0:
            return at
        if count > 127:
            count, at = read_varint(frame, at, count)
        if count > TAG_COUNT_MAX:
            raise MalformedMessage(f"a header with {count} tagged fields")
        for _ in range(count):
            _, at = _varint(frame, at)
            size, at = _varint(frame, at)
            at += size
    except IndexError:
        raise MalformedMessage("the header is cut off") from None
    if at > len(frame):
        raise MalformedMessage("a tagged field of the header runs past the frame")
    return at


def _varint(frame: Buffer, at: int) -> tuple[int, int]:
    first = frame[at]
    return read_varint(frame, at + 1, first) if first > 127 else (first, at + 1)
