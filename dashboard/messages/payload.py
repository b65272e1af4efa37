"""Bytes of strangers, made fit to be looked at. Pure.

Nothing that comes out of here is markup. Characters that do something instead of being seen (controls, bidirectional
overrides, zero-width ones) are handed out separately, so that a page can show that they are there.
"""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

PREVIEW_LENGTH = 220
TEXT_LENGTH_MAX = 128 * 1024
"""Characters of one payload put on a page; the rest is for the download."""
HEX_BYTES_MAX = 8 * 1024
HEX_ROW_BYTES = 16
JSON_BYTES_MAX = 512 * 1024
JSON_NODES_MAX = 3_000
JSON_DEPTH_MAX = 40
_CONTROL_SHARE_MAX = 0.1
"""More control characters than that and it is no text, even if it happens to decode."""


class Kind(StrEnum):
    NULL = "null"
    EMPTY = "empty"
    JSON = "json"
    TEXT = "text"
    BINARY = "binary"


class Piece(NamedTuple):
    text: str
    hidden: str = ""
    """Set for one character that could not be seen: what it is, such as ``U+202E RIGHT-TO-LEFT OVERRIDE``."""


@dataclass(frozen=True, slots=True)
class Node:
    """A JSON value: a leaf with its text, or a list or object with children."""

    kind: str
    """``object``, ``array``, ``string``, ``number`` or ``word``."""
    text: str = ""
    children: tuple[tuple[str | None, Node], ...] = ()
    """(name, value) pairs; the names of a list's elements are ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One key, value or header value with every way to show it."""

    content: bytes | None
    kind: Kind
    text: str | None
    """``None`` when it is not text."""

    @property
    def size(self) -> int:
        return len(self.content or b"")

    @property
    def kind_words(self) -> str:
        return {Kind.JSON: "JSON", Kind.TEXT: "text", Kind.BINARY: "bytes"}.get(self.kind, self.kind.value)

    @property
    def shown_text(self) -> str:
        return (self.text or "")[:TEXT_LENGTH_MAX]

    @property
    def is_cut(self) -> bool:
        return len(self.text or "") > TEXT_LENGTH_MAX

    @property
    def copyable(self) -> str:
        """What the copy button takes: the text as it is, anything else as hexadecimal digits."""
        if self.text is not None:
            return self.shown_text
        return (self.content or b"")[:HEX_BYTES_MAX].hex()

    @property
    def hex_is_cut(self) -> bool:
        return self.size > HEX_BYTES_MAX

    def hex_rows(self) -> Iterator[tuple[str, str, str]]:
        """(position, bytes, characters) of each sixteen."""
        shown = (self.content or b"")[:HEX_BYTES_MAX]
        for at in range(0, len(shown), HEX_ROW_BYTES):
            row = shown[at : at + HEX_ROW_BYTES]
            characters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in row)
            yield f"{at:08x}", f"{row[:8].hex(' ')}  {row[8:].hex(' ')}".rstrip(), characters

    @property
    def number(self) -> int | None:
        """What many producers write as a key: a big-endian integer of four or eight bytes."""
        if self.kind is not Kind.BINARY or self.content is None or self.size not in (4, 8):
            return None
        return int(struct.unpack(">i" if self.size == 4 else ">q", self.content)[0])

    def tree(self) -> Node | None:
        """The JSON value as nodes; ``None`` when it is none or too large to fold and unfold."""
        return json_tree(self.text) if self.kind is Kind.JSON and self.text is not None else None


def read_payload(content: bytes | None) -> Payload:
    if content is None:
        return Payload(content=None, kind=Kind.NULL, text=None)
    if not content:
        return Payload(content=content, kind=Kind.EMPTY, text="")
    text = as_text(content)
    if text is None:
        return Payload(content=content, kind=Kind.BINARY, text=None)
    return Payload(content=content, kind=Kind.JSON if _looks_like_json(text) else Kind.TEXT, text=text)


def as_text(content: bytes) -> str | None:
    """The text if it is one: valid UTF-8 without zero bytes and with few control characters."""
    if b"\0" in content:
        return None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    sample = text[:2_000]
    controls = sum(character < " " and character not in "\t\n\r" for character in sample)
    return text if controls <= 1 + len(sample) * _CONTROL_SHARE_MAX else None


def preview(content: bytes | None, length: int = PREVIEW_LENGTH) -> str:
    """One line of it; bytes that are no text as hexadecimal digits. ``pieces`` makes it safe to show."""
    if content is None:
        return ""
    enough = 4 * length
    cut = len(content) > enough
    text = _text_start(content, enough) if cut else as_text(content)
    if text is None:
        shown = content[: length // 3]
        return shown.hex(" ") + (" …" if len(content) > len(shown) else "")
    line = " ".join(text.split())
    return line[:length] + ("…" if cut or len(line) > length else "")


def _text_start(content: bytes, size: int) -> str | None:
    """``as_text`` of the first bytes, without minding a character cut in two at the end."""
    starts = (as_text(content[: size - cut]) for cut in range(4))
    return next((text for text in starts if text is not None), None)


def pieces(text: str, *, one_line: bool = False) -> Iterator[Piece]:
    """The text in pieces, each either plain or one character that is otherwise not seen: controls, format characters,
    spaces that are not the space."""
    start = 0
    for at, character in enumerate(text):
        if character.isprintable() or (character in "\n\t" and not one_line):
            continue
        if start < at:
            yield Piece(text[start:at])
        yield Piece(stand_in(character), _name(character))
        start = at + 1
    if start < len(text):
        yield Piece(text[start:])


def visible(text: str) -> str:
    """The text with a stand-in for every hidden character, for where only plain text can go."""
    return "".join(piece.text for piece in pieces(text, one_line=True))


def stand_in(character: str) -> str:
    """As a programmer would write it: ``\\x1b``, ``\\u202e``. Plain ASCII, for fonts have no pictures of these."""
    point = ord(character)
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def _name(character: str) -> str:
    name = unicodedata.name(character, "control character")
    return f"U+{ord(character):04X} {name}"


# JSON ----------------------------------------------------------------------------------------------


class _Raw(str):
    """A number or word as it was written, so that nothing is rounded."""

    __slots__ = ()


class _Pairs(list[tuple[str, Any]]):
    """An object's members in order, doubled names included."""


def _looks_like_json(text: str) -> bool:
    """Objects and lists; a lone number or word is better shown as the text it is."""
    stripped = text.lstrip(" \t\r\n")
    return stripped[:1] in ("{", "[") and len(text) <= JSON_BYTES_MAX and _load(text) is not None


def _load(text: str) -> Any:
    try:
        return json.loads(text, parse_int=_Raw, parse_float=_Raw, parse_constant=_refuse, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def json_tree(text: str) -> Node | None:
    budget = [JSON_NODES_MAX]
    try:
        return _node(_load(text), 0, budget)
    except _TooLarge:
        return None


class _TooLarge(Exception):
    """More nodes or levels than a page can fold."""


def _node(value: Any, depth: int, budget: list[int]) -> Node:
    budget[0] -= 1
    if budget[0] < 0 or depth > JSON_DEPTH_MAX:
        raise _TooLarge
    match value:
        case _Pairs():
            members = tuple((_quote(name), _node(member, depth + 1, budget)) for name, member in value)
            return Node("object", children=members)
        case list():
            return Node("array", children=tuple((None, _node(element, depth + 1, budget)) for element in value))
        case _Raw():
            return Node("number", text=str(value))
        case str():
            return Node("string", text=_quote(value))
        case _:
            return Node("word", text=json.dumps(value))


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
