"""Compiles the reader of one message in one version: ``bytes -> message``.

The whole message becomes one function: nested structs are inlined as loops, neighbouring fixed-size fields (and
the length or count that follows them) are one ``struct`` call.

How hostile bytes are kept harmless, without a check per field:
- A slice past the end is short and moves ``at`` beyond ``end``; from there every index and unpack raises, and the
  position is compared with ``end`` once at the end. So lengths are checked only for being negative.
- An array count must fit the bytes that are left (count * smallest element) and the budget of elements of the
  whole message, before anything is allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from broker.protocol.malformed import MalformedMessage
from broker.protocol.messages import Message
from broker.protocol.schema import STRUCT_DEFAULT, FieldSpec, StructSpec
from broker.protocol.source import FIXED_CODES, Source, element_size_min
from broker.types import Buffer


def compile_reader(
    spec: StructSpec, cls: type[Message], elements_max: int, *, exact: bool = True
) -> Callable[[bytes], Any]:
    """A function that reads one message, and unless ``exact`` ignores what follows it. It may raise
    ``MalformedMessage``, ``IndexError``, ``struct.error`` or ``UnicodeDecodeError``: the caller translates, once."""
    compiler = _ReaderCompiler(cls)
    source = compiler.source
    source.line("end = len(data)")
    source.line("at = 0")
    source.line(f"left = {elements_max}")
    message = compiler.struct(spec, cls)
    with source.block("if at != end:" if exact else "if at > end:"):
        source.line("refuse_end(at, end)")
    source.line(f"return {message}")
    return source.function("data")


class _ReaderCompiler:
    def __init__(self, root: type[Message]) -> None:
        self._root = root
        self._run: list[tuple[str, str]] = []
        """Fixed-size fields read so far but not yet written as code: (struct code, assignment target)."""
        self.source = Source()
        self.source.namespace.update(
            new=object.__new__,
            unpack_from=struct.unpack_from,
            varint=read_varint,
            refuse_null=_refuse_null,
            refuse_count=_refuse_count,
            refuse_length=_refuse_length,
            refuse_end=_refuse_end,
            refuse_tag=_refuse_tag,
        )

    def struct(self, spec: StructSpec, cls: type[Message]) -> str:
        source = self.source
        target = source.name("o")
        self._flush()
        source.line(f"{target} = new({source.constant('class', cls)})")
        tagged = sorted((field for field in spec.fields if field.tag is not None), key=lambda field: field.tag or 0)
        present = {field.name for field in spec.fields if field.tag is None}
        self._defaults(cls, target, present)
        for field in spec.fields:
            if field.tag is None:
                self._field(field, spec.flexible, target)
        if spec.flexible:
            self._tags(tagged, target)
        self._flush()
        return target

    def _defaults(self, cls: type[Message], target: str, present: set[str]) -> None:
        """Fields this version does not have, or has only when tagged."""
        template = cls()
        for name in cls.__slots__:
            if name in present:
                continue
            value = getattr(template, name)
            if isinstance(value, list):
                self.source.line(f"{target}.{name} = []")
            elif isinstance(value, Message):
                self.source.line(f"{target}.{name} = {self.source.constant('default', type(value))}()")
            else:
                self.source.line(f"{target}.{name} = {self.source.constant('default', value)}")

    def _field(self, field: FieldSpec, flexible: bool, owner: str) -> None:
        target = f"{owner}.{field.name}"
        if field.is_array:
            self._array(field, flexible, target)
        elif field.kind in FIXED_CODES:
            self._run.append((FIXED_CODES[field.kind], target))
        elif field.kind == "struct":
            self._nested(field, target)
        else:
            self._text(field, flexible, target)

    def _nested(self, field: FieldSpec, target: str) -> None:
        assert field.struct is not None
        source = self.source
        if not field.nullable:
            source.line(f"{target} = {self.struct(field.struct, self._class(field.struct))}")
            return
        self._run.append(("b", "n"))
        self._flush()
        with source.block("if n < 0:"):
            source.line(f"{target} = None")
        with source.block("else:"):
            source.line(f"{target} = {self.struct(field.struct, self._class(field.struct))}")

    def _text(self, field: FieldSpec, flexible: bool, target: str) -> None:
        """string, bytes, records: a length, then as many bytes."""
        source = self.source
        finish = ".decode()" if field.kind == "string" else ""
        if flexible:
            self._varint("n")
            value, null, negative = "n - 1", "n == 0", None
        else:
            self._run.append(("h" if field.kind == "string" else "i", "n"))
            self._flush()
            value, null, negative = "n", "n == -1", "n < -1"
        assignment = f"{target} = data[at : (at := at + {value})]{finish}"
        with source.block(f"if {null}:"):
            source.line(f"{target} = None" if field.nullable else f"refuse_null({field.name!r})")
        if negative:
            with source.block(f"elif {negative}:"):
                source.line(f"refuse_length({field.name!r}, n)")
        with source.block("else:"):
            source.line(assignment)

    def _array(self, field: FieldSpec, flexible: bool, target: str) -> None:
        source = self.source
        if flexible:
            self._varint("n")
            source.line("n -= 1")
        else:
            self._run.append(("i", "n"))
            self._flush()
        with source.block("if n < 0:"):
            if field.nullable:
                with source.block("if n < -1:"):
                    source.line(f"refuse_length({field.name!r}, n)")
                source.line(f"{target} = None")
            else:
                source.line(f"refuse_null({field.name!r})")
        with source.block("else:"):
            source.line("left -= n")
            with source.block(f"if left < 0 or n * {element_size_min(field, flexible)} > end - at:"):
                source.line(f"refuse_count({field.name!r}, n, end - at)")
            self._elements(field, flexible, target)

    def _elements(self, field: FieldSpec, flexible: bool, target: str) -> None:
        source = self.source
        if field.kind == "uuid":
            source.line(f"{target} = [data[i : i + 16] for i in range(at, at + 16 * n, 16)]")
            source.line("at += 16 * n")
            return
        if field.kind in FIXED_CODES:
            size = element_size_min(field, flexible)
            source.line(f"{target} = list(unpack_from(f'>{{n}}{FIXED_CODES[field.kind]}', data, at)) if n else []")
            source.line(f"at += {size} * n")
            return
        items, add = source.name("items"), source.name("add")
        source.line(f"{target} = {items} = []")
        source.line(f"{add} = {items}.append")
        with source.block("for _ in range(n):"):
            if field.struct is not None:
                element = self.struct(field.struct, self._class(field.struct))
            else:
                element = source.name("element")
                self._text(_element_of(field), flexible, element)
            source.line(f"{add}({element})")

    def _tags(self, tagged: list[FieldSpec], owner: str) -> None:
        """Known tagged fields are read within the size they claim, unknown ones are skipped."""
        source = self.source
        count, tag, stop = source.name("count"), source.name("tag"), source.name("stop")
        self._varint(count)
        with source.block(f"if {count}:"), source.block(f"for _ in range({count}):"):
            self._varint(tag)
            self._varint("n")
            source.line(f"{stop} = at + n")
            with source.block(f"if {stop} > end:"):
                source.line(f"refuse_tag({tag}, n)")
            for index, field in enumerate(tagged):
                with source.block(f"{'elif' if index else 'if'} {tag} == {field.tag}:"):
                    self._field(field, True, owner)
                    self._flush()
                    with source.block(f"if at != {stop}:"):
                        source.line(f"refuse_tag({tag}, n)")
            source.line(f"at = {stop}")

    def _varint(self, target: str) -> None:
        """An unsigned varint; its first byte joins the run before it."""
        self._run.append(("B", target))
        self._flush()
        with self.source.block(f"if {target} > 127:"):
            self.source.line(f"{target}, at = varint(data, at, {target})")

    def _flush(self) -> None:
        """Write the pending run as one unpack."""
        if not self._run:
            return
        codes = "".join(code for code, _ in self._run)
        targets = ", ".join(target for _, target in self._run)
        if codes == "B":
            self.source.line(f"{targets} = data[at]")
            self.source.line("at += 1")
        else:
            unpack, size = self.source.struct_method("unpack_from", codes)
            comma = "," if len(self._run) == 1 else ""
            self.source.line(f"{targets}{comma} = {unpack}(data, at)")
            self.source.line(f"at += {size}")
        self._run.clear()

    def _class(self, spec: StructSpec) -> type[Message]:
        nested: type[Message] = getattr(self._root, spec.name)
        return nested


def _element_of(field: FieldSpec) -> FieldSpec:
    return FieldSpec(name=field.name, kind=field.kind, is_array=False, nullable=False, tag=None, default=STRUCT_DEFAULT)


def read_varint(data: Buffer, at: int, first: int) -> tuple[int, int]:
    """The rest of an unsigned varint whose first byte said there is more: (value, position behind it)."""
    value = first & 0x7F
    for shift in (7, 14, 21, 28):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > 0xFFFFFFFF:
                break
            return value, at
    raise MalformedMessage("a variable-length number has more than 32 bits")


def _refuse_null(field: str) -> None:
    raise MalformedMessage(f"{field} must not be null")


def _refuse_length(field: str, length: int) -> None:
    raise MalformedMessage(f"{field} has length {length}")


def _refuse_count(field: str, count: int, remaining: int) -> None:
    raise MalformedMessage(f"{field} claims {count} elements in {remaining} bytes")


def _refuse_end(at: int, end: int) -> None:
    raise MalformedMessage(f"cut off: {at - end} bytes are missing" if at > end else f"{end - at} bytes too many")


def _refuse_tag(tag: int, size: int) -> None:
    raise MalformedMessage(f"tagged field {tag} does not have the {size} bytes it claims")
