"""One class per message for all its versions: ``from broker.protocol import messages as m``.

``m.MetadataResponse`` has the union of the fields of all versions, ``m.MetadataResponse.MetadataResponseTopic``
is one of its nested structs. Names are kio's (``docs/protocol.md`` lists them). A field that a version does not
have is its default after decoding and is left out when encoding, so a handler is written once, for the newest
version, and asks for ``request.api_version`` only where the meaning changed.

Classes are built on first use (a broker never pays for APIs nobody calls): slotted, mutable, keyword arguments
with Kafka's defaults, compared by value. Arrays are lists, null is ``None``, error codes, durations and timestamps
are ints, ids are 16 bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from broker.protocol import schema

_MISSING = object()


class Message:
    """Behaviour shared by all messages and their structs."""

    __slots__: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__qualname__}({fields})"


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    try:
        api, direction = schema.locate(name)
    except LookupError as error:
        raise AttributeError(str(error)) from None
    built = message_class(api, direction)
    globals()[name] = built
    return built


@functools.cache
def message_class(api: str, direction: schema.Direction) -> type[Message]:
    """The class of one message; nested struct classes are its attributes."""
    versions = schema.load(api, direction)
    newest_first = [versions[number] for number in sorted(versions, reverse=True)]
    root = newest_first[0].name
    structs: dict[str, dict[str, schema.FieldSpec]] = {}
    for version in newest_first:
        _collect(version, structs)
    classes: dict[str, type[Message]] = {}
    for name in reversed(structs):  # a struct's default may be another, found after it
        qualified = name if name == root else f"{root}.{name}"
        classes[name] = _build(qualified, structs[name], classes)
    built = classes[root]
    for name, nested in classes.items():
        if nested is not built:
            setattr(built, name, nested)
    return built


def _collect(struct: schema.StructSpec, structs: dict[str, dict[str, schema.FieldSpec]]) -> None:
    """Add a version's fields to the union; the newest version that has a field describes it."""
    union = structs.setdefault(struct.name, {})
    for field in struct.fields:
        union.setdefault(field.name, field)
        if field.struct is not None:
            _collect(field.struct, structs)


def _build(
    qualified: str, fields: Mapping[str, schema.FieldSpec], classes: Mapping[str, type[Message]]
) -> type[Message]:
    """A slotted class whose ``__init__`` is plain code: a generic one would cost several µs per struct."""
    namespace: dict[str, Any] = {"_MISSING": _MISSING}
    parameters = []
    body = []
    for name, field in fields.items():
        value = name
        if field.is_array and field.default is not None:
            parameters.append(f"{name}=_MISSING")
            value = f"[] if {name} is _MISSING else {name}"
        elif field.default is schema.STRUCT_DEFAULT:
            assert field.struct is not None
            parameters.append(f"{name}=_MISSING")
            namespace[f"_class_{name}"] = classes[field.struct.name]
            value = f"_class_{name}() if {name} is _MISSING else {name}"
        else:
            parameters.append(f"{name}=_default_{name}")
            namespace[f"_default_{name}"] = field.default
        body.append(f"    self.{name} = {value}\n")
    signature = ", ".join(["self", "*", *parameters] if parameters else ["self"])
    exec(f"def __init__({signature}):\n{''.join(body) or '    pass'}", namespace)
    name = qualified.rpartition(".")[2]
    return type(
        name,
        (Message,),
        {
            "__slots__": tuple(fields),
            "__init__": namespace["__init__"],
            "__qualname__": qualified,
            "__module__": __name__,
        },
    )
