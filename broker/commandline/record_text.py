"""Records as text and JSON, in both directions: what ``console_consumer`` writes, ``console_producer`` reads.

Owns: the two formats. Text is Kafka's (headers, key and value separated by a delimiter). In JSON a key or value that
is no UTF-8 appears as ``key_base64`` or ``value_base64``, so that every record survives the journey.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from broker.commandline.times import format_time

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordLine:
    """A record to be produced."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()
    partition: int | None = None
    """``None``: by key, as Java does."""
    timestamp_ms: int | None = None


class ReadRecord(Protocol):
    """A record as it was read: the client's own, or ``ConsumedRecord``."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp_ms(self) -> int: ...
    @property
    def timestamp_type(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumedRecord:
    """What a member of a group was given."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    timestamp_type: str
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFormat:
    """How a line of text holds a record: ``[headers TAB] [key SEPARATOR] value``."""

    key_separator: str | None = None
    """``None``: lines have no key."""
    key_required: bool = True
    with_headers: bool = False
    """Lines begin with ``name:value,name:value`` and a tab."""
    null_marker: str | None = None
    """A key or value that reads so is null."""


def parse_line(line: bytes, form: LineFormat) -> RecordLine:
    """Raises ``ValueError``."""
    headers: Headers = ()
    if form.with_headers:
        head, tab, line = line.partition(b"\t")
        if not tab:
            raise ValueError("no tab after the headers")
        headers = _parse_headers(head)
    key: bytes | None = None
    if form.key_separator is not None:
        before, found, after = line.partition(form.key_separator.encode())
        if found:
            key, line = before, after
        elif form.key_required:
            raise ValueError(f"no key separator {form.key_separator!r} in it")
    return RecordLine(key=_unless_null(key, form), value=_unless_null(line, form), headers=headers)


def parse_json(line: bytes) -> RecordLine:
    """An object as ``console_consumer --json`` writes it; unknown names are ignored. Raises ``ValueError``."""
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    headers = found.get("headers") or []
    if not isinstance(headers, list) or not all(isinstance(header, dict) for header in headers):
        raise ValueError("headers are not a list of objects")
    return RecordLine(
        key=_from_json(found, "key"),
        value=_from_json(found, "value"),
        headers=tuple((_text(header, "name"), _from_json(header, "value")) for header in headers),
        partition=_number(found, "partition"),
        timestamp_ms=_number(found, "timestamp_ms"),
    )


def to_json(record: ReadRecord) -> dict[str, Any]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "timestamp_type": record.timestamp_type,
        **bytes_to_json("key", record.key),
        **bytes_to_json("value", record.value),
        "headers": headers_to_json(record.headers),
    }


def headers_to_json(headers: Sequence[tuple[str, bytes | None]]) -> list[dict[str, Any]]:
    return [{"name": name, **bytes_to_json("value", value)} for name, value in headers]


def bytes_to_json(name: str, data: bytes | None) -> dict[str, str | None]:
    """``{name: text}``, or ``{name_base64: ...}`` for bytes that are no UTF-8."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFormat:
    """What a line of text says about a record, in this order, separated by ``separator``."""

    timestamp: bool = False
    partition: bool = False
    offset: bool = False
    headers: bool = False
    key: bool = False
    value: bool = True
    separator: str = "\t"
    null_marker: str = "null"


def format_line(record: ReadRecord, form: RecordFormat) -> bytes:
    null = form.null_marker.encode()
    parts: list[bytes] = []
    if form.timestamp:
        parts.append(f"{record.timestamp_type}:{record.timestamp_ms} ({format_time(record.timestamp_ms)})".encode())
    if form.partition:
        parts.append(f"Partition:{record.partition}".encode())
    if form.offset:
        parts.append(f"Offset:{record.offset}".encode())
    if form.headers:
        pairs = [name.encode() + b":" + (null if value is None else value) for name, value in record.headers]
        parts.append(b",".join(pairs) or b"NO_HEADERS")
    if form.key:
        parts.append(null if record.key is None else record.key)
    if form.value:
        parts.append(null if record.value is None else record.value)
    return form.separator.encode().join(parts) + b"\n"


def _parse_headers(text: bytes) -> Headers:
    headers = []
    for pair in filter(None, text.split(b",")):
        name, colon, value = pair.partition(b":")
        if not colon:
            raise ValueError(f"header {pair.decode('utf-8', 'replace')!r} is not NAME:VALUE")
        headers.append((name.decode("utf-8"), value))
    return tuple(headers)


def _unless_null(data: bytes | None, form: LineFormat) -> bytes | None:
    if data is None or form.null_marker is None:
        return data
    return None if data == form.null_marker.encode() else data


def _from_json(found: dict[str, Any], name: str) -> bytes | None:
    encoded = found.get(f"{name}_base64")
    if encoded is not None:
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise ValueError(f"{name}_base64 is not base64: {error}") from error
    text = found.get(name)
    if text is None or isinstance(text, str):
        return None if text is None else text.encode()
    # A document may stand there as it is.
    return json.dumps(text, ensure_ascii=False).encode()


def _text(found: dict[str, Any], name: str) -> str:
    if not isinstance(found.get(name), str):
        raise ValueError(f"{name} is missing or no text")
    return str(found[name])


def _number(found: dict[str, Any], name: str) -> int | None:
    number = found.get(name)
    if number is None:
        return None
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < 2**63:
        raise ValueError(f"{name} is not a number from 0 on")
    return number
