"""What schema.py notes down is what kio's real dataclasses say, and kio itself stays out of the process."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import types
from typing import Any, get_args, get_origin

import pytest

from broker.protocol import schema
from tests.protocol.oracle import SERVED_MESSAGES, kio_class


def described(cls: type) -> list[tuple[str, str, bool, bool, int | None, Any]]:
    """(name, kind, is array, nullable, tag, nested) of a kio dataclass, read by the rules of its annotations."""
    rows = []
    for field in dataclasses.fields(cls):
        annotation: Any = field.type
        has_null = isinstance(annotation, types.UnionType)
        if has_null:
            annotation = next(part for part in get_args(annotation) if part is not types.NoneType)
        is_array = get_origin(annotation) is tuple
        if is_array:
            annotation = get_args(annotation)[0]
        nested = annotation if dataclasses.is_dataclass(annotation) else None
        kafka_type = field.metadata.get("kafka_type", "struct")
        never_null = kafka_type in ("uuid", "datetime_i64") and not is_array
        rows.append(
            (
                field.name,
                kafka_type,
                is_array,
                has_null and not never_null,
                field.metadata.get("tag"),
                described(nested) if nested else None,
            )
        )
    return rows


def noted(spec: schema.StructSpec) -> list[tuple[str, str, bool, bool, int | None, Any]]:
    return [
        (
            field.name,
            field.kind,
            field.is_array,
            field.nullable,
            field.tag,
            noted(field.struct) if field.struct else None,
        )
        for field in spec.fields
    ]


def translated(rows: list[tuple[str, str, bool, bool, int | None, Any]]) -> list[Any]:
    plain = {"error_code": "int16", "timedelta_i32": "int32", "timedelta_i64": "int64", "datetime_i64": "int64"}
    return [
        (name, plain.get(kind, kind), is_array, nullable, tag, translated(nested) if nested else None)
        for name, kind, is_array, nullable, tag, nested in rows
    ]


@pytest.mark.parametrize(("api", "direction"), SERVED_MESSAGES)
def test_every_version_is_noted_down_as_kio_declares_it(api: str, direction: schema.Direction) -> None:
    for version, spec in schema.load(api, direction).items():
        cls = kio_class(api, direction, version)
        assert spec.name == cls.__name__
        assert spec.flexible == cls.__flexible__  # type: ignore[attr-defined]
        assert noted(spec) == translated(described(cls))


def test_kio_is_never_imported_by_the_codec() -> None:
    program = (
        "import sys\n"
        "from broker.protocol import codec, messages as m\n"
        "codec.encode_response(3, 12, m.MetadataResponse())\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('kio', 'aiokafka')])\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("ListOffsetsRequest", ("list_offsets", "request")),
        ("DescribeTopicPartitionsResponse", ("describe_topic_partitions", "response")),
        ("ConsumerProtocolAssignment", ("consumer_protocol_assignment", "data")),
    ],
)
def test_a_message_is_located_by_its_name(message: str, expected: tuple[str, str]) -> None:
    assert schema.locate(message) == expected


@pytest.mark.parametrize("message", ["", "Request", "NoSuchRequest", "../metadata", "__path__"])
def test_other_names_are_not_messages(message: str) -> None:
    with pytest.raises(LookupError):
        schema.locate(message)


def test_an_unknown_import_in_a_declaration_is_noticed() -> None:
    with pytest.raises(schema.SchemaError, match="imports 'os'"):
        schema._import("os")


def test_defaults_are_plain_and_immutable() -> None:
    fields = {field.name: field for field in schema.load("offset_commit", "request")[2].fields}
    assert fields["retention_time"].default == -1
    assert type(fields["retention_time"].default) is int
    topic_id = next(field for field in schema.load("metadata", "request")[12].fields if field.name == "topics")
    assert topic_id.struct is not None
    assert topic_id.struct.fields[0].default == bytes(16)
