"""Which records a viewer wants to see: a small language over key, value and headers. Pure; nothing is evaluated.

    error                          somewhere in key, value or a header
    key = user-7                   the whole key, exactly
    value contains "out of"        part of the value, in upper or lower case
    value.order.state = shipped    a field of a JSON value
    header.source != psutil        the header of that name
    value = null                   a tombstone
    not key contains test          the opposite; several terms must all hold, with or without "and" between them

A record that cannot be read the way a term needs (no JSON, no such field) does not match the term.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from broker.client.results import Record

TEXT_LENGTH_MAX = 300
TERMS_MAX = 16
JSON_BYTES_MAX = 1024 * 1024
FIELDS = ("key", "value", "header")

_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(!=|=)|((?:[^\s"=!]|!(?!=))+))')
_MISSING = object()


class FilterError(ValueError):
    """The text is no filter; the message says why, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    field: str
    """``key``, ``value``, ``header``, or empty for any of them."""
    path: str
    """The header's name, or the way into a JSON key or value: ``order.state``."""
    operator: str
    """``contains``, ``=`` or ``!=``."""
    wanted: str | None
    """``None`` is null: no key, a tombstone, JSON's null."""
    negated: bool = False

    def matches(self, record: Record) -> bool:
        return self._holds(record) is not self.negated

    def _holds(self, record: Record) -> bool:
        if self.operator == "!=":
            found = list(self._candidates(record))
            return bool(found) and self.wanted not in found
        if self.operator == "=":
            return self.wanted in self._candidates(record)
        needle = (self.wanted or "").casefold()
        return any(needle in text.casefold() for text in self._candidates(record) if text is not None)

    def _candidates(self, record: Record) -> Iterable[str | None]:
        if self.field == "header":
            return [_text(value) for name, value in record.headers if not self.path or name == self.path]
        if not self.field:
            return [_text(record.key), _text(record.value), *(_text(value) for _, value in record.headers)]
        content = record.key if self.field == "key" else record.value
        if not self.path:
            return [_text(content)]
        found = _json_field(content, self.path)
        return [] if found is _MISSING else [_json_text(found)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    terms: tuple[Term, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms)

    def matches(self, record: Record) -> bool:
        return all(term.matches(record) for term in self.terms)


def parse(text: str) -> Predicate:
    """Raises ``FilterError``. The empty text matches everything."""
    if len(text) > TEXT_LENGTH_MAX:
        raise FilterError(f"A filter has at most {TEXT_LENGTH_MAX} characters.")
    tokens = _Tokens(text)
    terms: list[Term] = []
    while not tokens.at_end:
        if terms and tokens.take_word("and") and tokens.at_end:
            raise FilterError("Something has to follow “and”.")
        terms.append(_term(tokens))
        if len(terms) > TERMS_MAX:
            raise FilterError(f"A filter has at most {TERMS_MAX} terms.")
    return Predicate(terms=tuple(terms))


def _term(tokens: _Tokens) -> Term:
    negated = False
    while tokens.take_word("not"):
        negated = not negated
    if tokens.at_end:
        raise FilterError("Something has to follow “not”.")
    word, quoted = tokens.take()
    if not quoted and word in ("=", "!="):
        raise FilterError(f"“{word}” needs key, value or header in front of it.")
    if quoted or not tokens.next_is_operator():
        return Term(field="", path="", operator="contains", wanted=word, negated=negated)
    field, _, path = word.partition(".")
    if field not in FIELDS:
        raise FilterError(f"“{word}” is no field. Write key, value, header, header.NAME or value.FIELD.")
    operator, _ = tokens.take()
    if tokens.at_end:
        raise FilterError(f'Something has to follow “{word} {operator}”. An empty text is written "".')
    wanted, quoted = tokens.take()
    is_null = wanted == "null" and not quoted and operator != "contains"
    return Term(field=field, path=path, operator=operator, wanted=None if is_null else wanted, negated=negated)


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, bool]] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise FilterError("A quotation mark is not closed." if '"' in text[at:] else "This cannot be read.")
            quoted, operator, word = match.groups()
            if quoted is not None:
                self._tokens.append((re.sub(r"\\(.)", r"\1", quoted), True))
            else:
                self._tokens.append((operator or word, False))
            at = match.end()
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at >= len(self._tokens)

    def take(self) -> tuple[str, bool]:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def take_word(self, word: str) -> bool:
        if self.at_end or self._tokens[self._at] != (word, False):
            return False
        self._at += 1
        return True

    def next_is_operator(self) -> bool:
        return not self.at_end and self._tokens[self._at] in (("=", False), ("!=", False), ("contains", False))


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode("utf-8", "replace")


def _json_field(content: bytes | None, path: str) -> Any:
    """The value at ``path`` (names and list positions, joined by points); ``_MISSING`` when there is none."""
    if content is None or len(content) > JSON_BYTES_MAX:
        return _MISSING
    try:
        found = json.loads(content, parse_int=_Verbatim, parse_float=_Verbatim)
    except (ValueError, RecursionError):
        return _MISSING
    for name in path.split("."):
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and len(name) < 10 and int(name) < len(found):
            found = found[int(name)]
        else:
            return _MISSING
    return found


class _Verbatim(str):
    """A number as it was written: ``1.50`` is not ``1.5`` to somebody who compares texts."""

    __slots__ = ()


def _json_text(found: Any) -> str | None:
    if found is None:
        return None
    if isinstance(found, str):
        return str(found)
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"), default=str)
