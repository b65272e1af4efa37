"""Writing Python source for one compiled reader or writer.

Owns what ``reader.py`` and ``writer.py`` share: indentation, fresh names, the namespace the code will run in, and
the struct codes of fixed-size kinds. The code is built only from schema values (never from wire bytes) and
compiled once per message and version.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from broker.protocol.schema import FieldSpec, Kind, StructSpec

FIXED_CODES: Mapping[Kind, str] = {
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "int64": "q",
    "float64": "d",
    "uuid": "16s",
}


class Source:
    """Lines of one function and the constants it refers to."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {}
        self._lines: list[str] = []
        self._depth = 1
        self._names = 0

    def line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        self.line(opening)
        self._depth += 1
        before = len(self._lines)
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._depth -= 1

    def name(self, stem: str) -> str:
        """A local name not used before in this function."""
        self._names += 1
        return f"{stem}{self._names}"

    def constant(self, stem: str, value: Any) -> str:
        name = self.name(f"_{stem}")
        self.namespace[name] = value
        return name

    def struct_method(self, method: str, codes: str) -> tuple[str, int]:
        """Name of a bound ``struct.Struct`` method for a run of fields, and the run's size."""
        compiled = struct.Struct(">" + codes)
        name = f"_{method}_{codes.replace('?', 'Z')}"
        self.namespace[name] = getattr(compiled, method)
        return name, compiled.size

    def function(self, signature: str) -> Any:
        """Compile everything written so far as one function."""
        text = "\n".join([f"def function({signature}):", *self._lines])
        exec(compile(text, f"<compiled {signature}>", "exec"), self.namespace)
        return self.namespace["function"]


def size_min(spec: StructSpec) -> int:
    """Fewest bytes a struct can take: what an array count is checked against before anything is allocated."""
    total = sum(_field_size_min(field, spec.flexible) for field in spec.fields if field.tag is None)
    return max(1, total + (1 if spec.flexible else 0))


def element_size_min(field: FieldSpec, flexible: bool) -> int:
    """Fewest bytes of one value of a field, for arrays one element."""
    if field.kind in FIXED_CODES:
        return struct.calcsize(">" + FIXED_CODES[field.kind])
    if field.struct is not None:
        return size_min(field.struct)
    if flexible:
        return 1
    return 2 if field.kind == "string" else 4


def _field_size_min(field: FieldSpec, flexible: bool) -> int:
    if field.is_array:
        return 1 if flexible else 4
    if field.kind == "struct" and field.nullable:
        return 1
    return element_size_min(field, flexible)
