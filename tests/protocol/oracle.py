"""kio's own dataclasses, writer and reader: the independent opinion on what Kafka's bytes are."""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import io
import uuid
from collections.abc import Iterator
from typing import Any, get_args

from kio.schema.errors import ErrorCode
from kio.serial import entity_reader, entity_writer
from kio.static.primitive import TZAware, i32Timedelta, i64Timedelta

from broker.protocol.api import PRIVATE_API_KEY_MIN, ApiKey
from broker.protocol.registry import SERVED, kio_name

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
SERVED_MESSAGES = [
    (kio_name(spec.key), direction)
    for spec in SERVED.values()
    if spec.key < PRIVATE_API_KEY_MIN
    for direction in ("request", "response")
]


def served_versions(api: str) -> range:
    spec = SERVED[ApiKey[api.upper()]]
    return range(spec.min_version, spec.max_version + 1)


def kio_class(api: str, direction: str, version: int) -> type:
    module = importlib.import_module(f"kio.schema.{api}.v{version}.{direction}")
    return list(_classes(module))[-1]


def _classes(module: Any) -> Iterator[type]:
    for value in vars(module).values():
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__:
            yield value


def to_kio(message: Any, cls: type) -> Any:
    """Our message as kio's object of one version."""
    values = {}
    for field in dataclasses.fields(cls):
        kind = field.metadata.get("kafka_type")
        values[field.name] = _value(getattr(message, field.name), field.type, kind)
    return cls(**values)


def _value(value: Any, annotation: Any, kind: str | None) -> Any:
    if kind == "uuid" and isinstance(value, bytes):
        return uuid.UUID(bytes=value) if any(value) else None
    if kind == "datetime_i64":
        return None if value == -1 else TZAware.parse(EPOCH + datetime.timedelta(milliseconds=value))
    if value is None:
        return None
    if isinstance(value, list):
        return tuple(_value(item, _element(annotation), kind) for item in value)
    struct = _struct(annotation)
    if struct is not None:
        return to_kio(value, struct)
    if kind == "error_code":
        return ErrorCode(value)
    if kind == "timedelta_i32":
        return i32Timedelta.parse(datetime.timedelta(milliseconds=value))
    if kind == "timedelta_i64":
        return i64Timedelta.parse(datetime.timedelta(milliseconds=value))
    return value


def _element(annotation: Any) -> Any:
    for candidate in (annotation, *get_args(annotation)):
        if getattr(candidate, "__origin__", None) is tuple:
            return get_args(candidate)[0]
    raise AssertionError(annotation)


def _struct(annotation: Any) -> type | None:
    for candidate in (annotation, *get_args(annotation)):
        if dataclasses.is_dataclass(candidate):
            return candidate  # type: ignore[return-value]
    return None


def kio_write(entity: Any) -> bytes:
    buffer = io.BytesIO()
    entity_writer(type(entity))(buffer, entity)
    return buffer.getvalue()


def kio_read(cls: type, data: bytes) -> Any:
    entity, size = entity_reader(cls)(data, 0)
    assert size == len(data)
    return entity
