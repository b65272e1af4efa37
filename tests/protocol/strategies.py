"""Random messages of one version, made from the schema."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from kio.schema.errors import ErrorCode

from broker.protocol.messages import Message, message_class
from broker.protocol.schema import FieldSpec, StructSpec, load

_KNOWN_ERRORS = st.sampled_from([int(code) for code in ErrorCode])
_INTEGERS = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
}
_DAY_MS = 86_400_000


def messages(api: str, direction: str, version: int, kinds: dict[str, str] | None = None) -> st.SearchStrategy[Any]:
    """``kinds``: kio's special kind of a field by ``Struct.field`` (error codes and times have fewer values there)."""
    root = message_class(api, direction)  # type: ignore[arg-type]
    return _structs(load(api, direction)[version], root, root, kinds or {})  # type: ignore[arg-type]


def _structs(
    spec: StructSpec, cls: type[Message], root: type[Message], kinds: dict[str, str]
) -> st.SearchStrategy[Any]:
    fields = {field.name: _field(field, spec, root, kinds) for field in spec.fields}
    return st.builds(cls, **fields)


def _field(field: FieldSpec, owner: StructSpec, root: type[Message], kinds: dict[str, str]) -> st.SearchStrategy[Any]:
    value = _single(field, root, kinds.get(f"{owner.name}.{field.name}", field.kind), kinds)
    if field.is_array:
        value = st.lists(value, max_size=3)
    if field.nullable:
        value = st.none() | value
    return value


def _single(field: FieldSpec, root: type[Message], kind: str, kinds: dict[str, str]) -> st.SearchStrategy[Any]:
    if field.struct is not None:
        return _structs(field.struct, getattr(root, field.struct.name), root, kinds)
    if kind == "error_code":
        return _KNOWN_ERRORS
    if kind == "timedelta_i64":
        return st.integers(-(10**6) * _DAY_MS, 10**6 * _DAY_MS)
    if kind.startswith("datetime_i64"):
        times = st.integers(0, 2**31 - 1).map(lambda seconds: seconds * 1000)
        return times if kind.endswith("never null") else times | st.just(-1)
    if field.kind in _INTEGERS:
        return st.integers(*_INTEGERS[field.kind])
    if field.kind == "bool":
        return st.booleans()
    if field.kind == "float64":
        return st.floats(allow_nan=False)
    if field.kind == "uuid":
        return st.binary(min_size=16, max_size=16) | st.just(bytes(16))
    if field.kind == "string":
        return st.text(max_size=5) | st.just("ü" * 70)
    return st.binary(max_size=5) | st.just(b"x" * 200)
