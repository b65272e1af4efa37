"""Compiles the writer of one message in one version: ``message -> bytes``, byte for byte what Kafka writes.

One function per message with nested structs inlined; neighbouring fixed-size fields, and the length that follows
them, are one ``struct`` call. Fields the version does not have are left out silently, as their absence is what
asking for that version means. Tagged fields are written in order of their tags and only when they differ from
their default.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from broker.protocol.messages import Message
from broker.protocol.schema import STRUCT_DEFAULT, FieldSpec, StructSpec
from broker.protocol.source import FIXED_CODES, Source


def compile_writer(spec: StructSpec, cls: type[Message]) -> Callable[[Any], bytes]:
    """A function that writes exactly one message; a value its field cannot hold raises ``struct.error``,
    ``TypeError`` or ``AttributeError``."""
    compiler = _WriterCompiler(cls)
    source = compiler.source
    source.line("out = []")
    source.line("add = out.append")
    compiler.struct(spec, "message", "add")
    source.line("return b''.join(out)")
    return source.function("message")


class _WriterCompiler:
    def __init__(self, root: type[Message]) -> None:
        self._root = root
        self._run: list[tuple[str, str]] = []
        """Fixed-size values not yet written as code: (struct code, expression); code ``x`` is a zero byte."""
        self._add = "add"
        self.source = Source()
        self.source.namespace.update(pack=struct.pack, varint=write_varint)

    def struct(self, spec: StructSpec, owner: str, add: str) -> None:
        self._add = add
        for field in spec.fields:
            if field.tag is None:
                self._field(field, spec.flexible, f"{owner}.{field.name}")
        if spec.flexible:
            tagged = sorted((field for field in spec.fields if field.tag is not None), key=lambda field: field.tag or 0)
            if tagged:
                self._tags(tagged, owner)
            else:
                self._run.append(("x", ""))
        self._flush()

    def _field(self, field: FieldSpec, flexible: bool, value: str) -> None:
        if field.is_array:
            self._array(field, flexible, value)
        elif field.kind in FIXED_CODES:
            self._run.append((FIXED_CODES[field.kind], value))
        elif field.kind == "struct":
            self._nested(field, value)
        else:
            self._text(field, flexible, value)

    def _nested(self, field: FieldSpec, value: str) -> None:
        assert field.struct is not None
        source = self.source
        owner = source.name("o")
        source.line(f"{owner} = {value}")
        if not field.nullable:
            self.struct(field.struct, owner, self._add)
            return
        self._flush()
        with source.block(f"if {owner} is None:"):
            source.line(f"{self._add}(b'\\xff')")
        with source.block("else:"):
            source.line(f"{self._add}(b'\\x01')")
            self.struct(field.struct, owner, self._add)

    def _text(self, field: FieldSpec, flexible: bool, value: str) -> None:
        source = self.source
        extra, null = (" + 1", "0") if flexible else ("", "-1")
        encoded = f"{value}.encode()" if field.kind == "string" else value
        if field.nullable:
            source.line(f"v = {value}")
            with source.block("if v is None:"):
                source.line(f"n = {null}")
            with source.block("else:"):
                source.line(f"v = {encoded.replace(value, 'v', 1)}")
                source.line(f"n = len(v){extra}")
        else:
            source.line(f"v = {encoded}")
            source.line(f"n = len(v){extra}")
        self._length(flexible, "h" if field.kind == "string" else "i")
        if field.nullable:
            with source.block("if v is not None:"):
                source.line(f"{self._add}(v)")
        else:
            source.line(f"{self._add}(v)")

    def _array(self, field: FieldSpec, flexible: bool, value: str) -> None:
        source = self.source
        items = source.name("items")
        extra, null = (" + 1", "0") if flexible else ("", "-1")
        source.line(f"{items} = {value}")
        if field.nullable:
            source.line(f"n = {null} if {items} is None else len({items}){extra}")
        else:
            source.line(f"n = len({items}){extra}")
        self._length(flexible, "i")
        with source.block(f"if {items}:"):
            self._elements(field, flexible, items)

    def _elements(self, field: FieldSpec, flexible: bool, items: str) -> None:
        source = self.source
        add = self._add
        if field.kind == "uuid":
            source.line(f"{add}(b''.join({items}))")
        elif field.kind in FIXED_CODES:
            source.line(f"{add}(pack(f'>{{len({items})}}{FIXED_CODES[field.kind]}', *{items}))")
        else:
            element = source.name("o")
            with source.block(f"for {element} in {items}:"):
                if field.struct is not None:
                    self.struct(field.struct, element, add)
                else:
                    self._text(_element_of(field), flexible, element)

    def _tags(self, tagged: list[FieldSpec], owner: str) -> None:
        """Each present tagged field is written apart first: its size and the count of fields go before it."""
        source = self.source
        outer = self._add
        fields = source.name("fields")
        self._flush()
        source.line(f"{fields} = []")
        for field in tagged:
            value = f"{owner}.{field.name}"
            with source.block(f"if {self._differs(field, value)}:"):
                pieces, add = source.name("pieces"), source.name("add")
                source.line(f"{pieces} = []")
                source.line(f"{add} = {pieces}.append")
                self._add = add
                self._field(_untagged(field), True, value)
                self._flush()
                source.line(f"v = b''.join({pieces})")
                source.line(f"{fields}.append(varint({field.tag}) + varint(len(v)) + v)")
        self._add = outer
        source.line(f"{outer}(varint(len({fields})))")
        with source.block(f"if {fields}:"):
            source.line(f"{outer}(b''.join({fields}))")

    def _differs(self, field: FieldSpec, value: str) -> str:
        if field.default is None:
            return f"{value} is not None"
        if field.is_array:
            return f"len({value})"
        if field.default is STRUCT_DEFAULT:
            assert field.struct is not None
            return f"{value} != {self.source.constant('default', getattr(self._root, field.struct.name)())}"
        return f"{value} != {self.source.constant('default', field.default)}"

    def _length(self, flexible: bool, code: str) -> None:
        """The number ``n`` together with the run before it."""
        if not flexible:
            self._run.append((code, "n"))
            self._flush()
            return
        run = list(self._run)
        with self.source.block("if n < 128:"):
            self._run.append(("B", "n"))
            self._flush()
        with self.source.block("else:"):
            self._run = run
            self._flush()
            self.source.line(f"{self._add}(varint(n))")

    def _flush(self) -> None:
        if not self._run:
            return
        codes = "".join(code for code, _ in self._run)
        values = ", ".join(value for code, value in self._run if code != "x")
        if values:
            pack, _ = self.source.struct_method("pack", codes)
            self.source.line(f"{self._add}({pack}({values}))")
        else:
            self.source.line(f"{self._add}({bytes(len(codes))!r})")
        self._run = []


def _element_of(field: FieldSpec) -> FieldSpec:
    return FieldSpec(name=field.name, kind=field.kind, is_array=False, nullable=False, tag=None, default=None)


def _untagged(field: FieldSpec) -> FieldSpec:
    """The field as its tag carries it. Null is the absence of the tag, so the value itself cannot be null."""
    return FieldSpec(
        name=field.name,
        kind=field.kind,
        is_array=field.is_array,
        nullable=False,
        tag=None,
        default=field.default,
        struct=field.struct,
    )


def write_varint(value: int) -> bytes:
    """An unsigned varint."""
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = tuple(bytes((value,)) for value in range(0x80))
