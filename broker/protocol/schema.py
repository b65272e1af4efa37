"""Kafka's message schemas as plain values, read from kio's generated declarations.

Owns the only contact with kio. kio declares every message of every version as a dataclass; importing those
modules costs 25 MB and a second, because each drags in kio's types and builds real dataclasses. We need
only what they *say*, so their code objects (Python's own ``.pyc`` cache) are run with stand-ins for
``dataclass``, ``field`` and kio's types, and everything is dropped once the fields are noted down. A test
compares the result with the real dataclasses, so an upgrade of kio that declares differently is noticed.

kio's convenience types (timedelta, datetime, ``ErrorCode``, ``UUID``) are plain ints and 16 bytes here.
"""

from __future__ import annotations

import datetime
import functools
import importlib.util
import re
import types
import typing
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

Direction: TypeAlias = Literal["request", "response", "data"]
Kind: TypeAlias = Literal[
    "bool", "int8", "int16", "uint16", "int32", "int64", "float64", "uuid", "string", "bytes", "records", "struct"
]

_KINDS: Mapping[str, Kind] = {
    "bool": "bool",
    "int8": "int8",
    "int16": "int16",
    "error_code": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "timedelta_i32": "int32",
    "int64": "int64",
    "timedelta_i64": "int64",
    "datetime_i64": "int64",
    "float64": "float64",
    "uuid": "uuid",
    "string": "string",
    "bytes": "bytes",
    "records": "records",
}
_NULLABLE_KINDS = frozenset({"string", "bytes", "records", "struct"})
"""The others have no null on the wire: kio's ``UUID | None`` is the zero id, its ``datetime | None`` is -1."""


class SchemaError(Exception):
    """kio declares something this module does not understand; a bug or an unsupported kio release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSpec:
    """One field in one version. ``nullable`` is the array's nullability for arrays, else the value's."""

    name: str
    kind: Kind
    is_array: bool
    nullable: bool
    tag: int | None
    default: Any
    """What a new message starts with: an immutable plain value, ``()`` for an empty array, or for a
    non-null struct ``STRUCT_DEFAULT``: a struct of defaults."""
    struct: StructSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StructSpec:
    name: str
    flexible: bool
    fields: tuple[FieldSpec, ...]
    """In wire order; tagged ones anywhere among them."""


STRUCT_DEFAULT = object()

_IMPLICIT_DEFAULTS: Mapping[Kind, Any] = {
    "bool": False,
    "int8": 0,
    "int16": 0,
    "uint16": 0,
    "int32": 0,
    "int64": 0,
    "float64": 0.0,
    "uuid": bytes(16),
    "string": "",
    "bytes": b"",
    "records": None,
}


@functools.cache
def load(api: str, direction: Direction) -> Mapping[int, StructSpec]:
    """Every version of one message, by version. ``api`` is kio's directory, e.g. ``list_offsets``."""
    directory = _schema_root() / api
    numbers = sorted(int(entry.name[1:]) for entry in directory.glob("v*") if entry.name[1:].isdigit())
    paths = {number: directory / f"v{number}" / f"{direction}.py" for number in numbers}
    found = {number: _read(path, api, direction) for number, path in paths.items() if path.exists()}
    if not found:
        raise SchemaError(f"kio has no {direction} message in {directory.name!r}")
    return MappingProxyType(found)


def locate(message: str) -> tuple[str, Direction]:
    """``("list_offsets", "request")`` for ``ListOffsetsRequest``; a name with neither suffix is a data message.

    Raises ``LookupError`` if kio has no such message.
    """
    direction: Direction = "data"
    stem = message
    if message.endswith("Request"):
        stem, direction = message[: -len("Request")], "request"
    elif message.endswith("Response"):
        stem, direction = message[: -len("Response")], "response"
    api = re.sub(r"(?<!^)(?=[A-Z])", "_", stem).lower()
    if not api.isidentifier() or not any((_schema_root() / api).glob(f"v*/{direction}.py")):
        raise LookupError(f"no Kafka message is called {message!r}")
    return api, direction


@functools.cache
def _schema_root() -> Path:
    spec = importlib.util.find_spec("kio")
    if spec is None or not spec.submodule_search_locations:
        raise SchemaError("kio is not installed")
    return Path(spec.submodule_search_locations[0]) / "schema"


# Running one declaration -----------------------------------------------------------------------------


class _Declared:
    """What ``field(...)`` was called with."""

    def __init__(self, *, metadata: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.metadata = metadata or {}
        self.options = options


class _Types:
    """Stands in for every module of kio: any name is a number type, which is all that defaults need."""

    EntityType = types.SimpleNamespace(request=0, response=0, header=0, data=0, nested=0)

    def __getattr__(self, name: str) -> type:
        return type(name, (int,), {"parse": staticmethod(_milliseconds)})


def _milliseconds(value: datetime.timedelta) -> int:
    return value // datetime.timedelta(milliseconds=1)


def _import(name: str, *_: Any) -> Any:
    """The imports that occur in kio's declarations, and no others."""
    if name.startswith("kio."):
        return _Types()
    if name == "dataclasses":
        return types.SimpleNamespace(dataclass=lambda **_: lambda declared: declared, field=_Declared)
    allowed: Mapping[str, Any] = {"typing": typing, "uuid": uuid, "datetime": datetime}
    if name not in allowed:
        raise SchemaError(f"kio's declaration imports {name!r}")
    return allowed[name]


_BUILTINS: Mapping[str, Any] = {
    "__import__": _import,
    "__build_class__": __build_class__,
    "type": type,
    "tuple": tuple,
    "str": str,
    "bool": bool,
    "bytes": bytes,
    "float": float,
    "int": int,
}


def _read(path: Path, api: str, direction: Direction) -> StructSpec:
    name = f"kio.schema.{api}.{path.parent.name}.{direction}"
    code = SourceFileLoader(name, str(path)).get_code(name)
    if code is None:
        raise SchemaError(f"{name} has no code")
    namespace: dict[str, Any] = {"__builtins__": dict(_BUILTINS), "__name__": name}
    exec(code, namespace)
    declared = [value for value in namespace.values() if _is_declaration(value)]
    structs: dict[type, StructSpec] = {}
    for cls in declared:  # nested ones come first
        structs[cls] = StructSpec(
            name=cls.__name__,
            flexible=cls.__flexible__,
            fields=tuple(
                _field_spec(cls, name, annotation, structs)
                for name, annotation in cls.__annotations__.items()
                if not name.startswith("__")
            ),
        )
    return structs[declared[-1]]


def _is_declaration(value: object) -> bool:
    return isinstance(value, type) and "__flexible__" in value.__dict__


def _field_spec(cls: type, name: str, annotation: Any, structs: Mapping[type, StructSpec]) -> FieldSpec:
    declared = cls.__dict__.get(name)
    if not isinstance(declared, _Declared):
        declared = _Declared() if declared is None else _Declared(default=declared)
    inner, has_null = _without_none(annotation)
    is_array = typing.get_origin(inner) is tuple
    if is_array:
        inner, _ = _without_none(typing.get_args(inner)[0])
    struct = structs.get(inner)
    kafka_type: str = declared.metadata.get("kafka_type", "struct")
    if struct is None and kafka_type not in _KINDS:
        raise SchemaError(f"{cls.__name__}.{name} is of unknown type {kafka_type!r}")
    kind: Kind = "struct" if struct else _KINDS[kafka_type]
    nullable = has_null and (is_array or kind in _NULLABLE_KINDS)
    return FieldSpec(
        name=name,
        kind=kind,
        is_array=is_array,
        nullable=nullable,
        tag=declared.metadata.get("tag"),
        default=_default(declared, kind, is_array),
        struct=struct,
    )


def _without_none(annotation: Any) -> tuple[Any, bool]:
    arguments = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType) and types.NoneType in arguments:
        return next(argument for argument in arguments if argument is not types.NoneType), True
    return annotation, False


def _default(declared: _Declared, kind: Kind, is_array: bool) -> Any:
    if "default" not in declared.options:
        if is_array:
            return ()
        return STRUCT_DEFAULT if kind == "struct" else _IMPLICIT_DEFAULTS[kind]
    value = declared.options["default"]
    if value is None:
        # Only types with a null on the wire keep it.
        if is_array or kind in _NULLABLE_KINDS:
            return None
        return bytes(16) if kind == "uuid" else -1
    if isinstance(value, bool | str | bytes | float | tuple):
        return value
    if isinstance(value, int):
        return int(value)
    return STRUCT_DEFAULT
