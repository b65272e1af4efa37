"""Bytes of strangers: what is text, what hides in it, what is shown of it."""

from __future__ import annotations

import json

import pytest
from django.template import Context, Template
from hypothesis import given
from hypothesis import strategies as st

from dashboard.messages.payload import (
    JSON_DEPTH_MAX,
    JSON_NODES_MAX,
    TEXT_LENGTH_MAX,
    Kind,
    Node,
    pieces,
    preview,
    read_payload,
    visible,
)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (None, Kind.NULL),
        (b"", Kind.EMPTY),
        (b"plain", Kind.TEXT),
        ("Käthe".encode(), Kind.TEXT),
        (b"\x1b[31mred\x1b[0m alert for everybody to see", Kind.TEXT),
        (b'{"a": 1}', Kind.JSON),
        (b" [1, 2]", Kind.JSON),
        (b"{not json}", Kind.TEXT),
        (b'{"a": NaN}', Kind.TEXT),
        (b"42", Kind.TEXT),
        (b"a\x00b", Kind.BINARY),
        (b"\xff\xfe", Kind.BINARY),
        (b"\x01\x02\x03\x04", Kind.BINARY),
    ],
)
def test_it_is_told_what_it_is(content: bytes | None, kind: Kind) -> None:
    assert read_payload(content).kind is kind


@given(st.binary(max_size=3_000))
def test_any_bytes_can_be_shown(content: bytes) -> None:
    payload = read_payload(content)
    assert "\n" not in preview(content)
    assert len(preview(content)) < 250
    assert sum(len(row[1].split()) for row in payload.hex_rows()) == len(content)
    if payload.text is not None:
        assert payload.copyable.encode() == content
    else:
        assert bytes.fromhex(payload.copyable) == content


@given(st.text(max_size=200))
def test_what_is_shown_hides_nothing(text: str) -> None:
    assert visible(text).isprintable()
    assert "".join(piece.text for piece in pieces(text) if not piece.hidden) == "".join(
        character for character in text if character.isprintable() or character in "\n\t"
    )


def test_controls_and_direction_changes_become_visible() -> None:
    assert visible("a\x1b[1m\u202egnp.exe\u200b") == "a\\x1b[1m\\u202egnp.exe\\u200b"
    (hidden,) = [piece for piece in pieces("x\u202ey") if piece.hidden]
    assert hidden.hidden == "U+202E RIGHT-TO-LEFT OVERRIDE"


def test_markup_stays_text() -> None:
    template = Template("{% load payload %}{{ text|visible }}|{{ text|visible_lines }}")
    shown = template.render(Context({"text": "<script>alert(1)</script>\u202e\n"}))
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert '<span class="ot-hidden" title="U+202E RIGHT-TO-LEFT OVERRIDE">\\u202e</span>' in shown


def test_json_keeps_numbers_doubled_names_and_order() -> None:
    tree = read_payload(b'{"b": 12.500, "a": [1e400, true, null, "x"], "b": {}}').tree()
    assert tree == Node(
        "object",
        children=(
            ('"b"', Node("number", "12.500")),
            (
                '"a"',
                Node(
                    "array",
                    children=(
                        (None, Node("number", "1e400")),
                        (None, Node("word", "true")),
                        (None, Node("word", "null")),
                        (None, Node("string", '"x"')),
                    ),
                ),
            ),
            ('"b"', Node("object")),
        ),
    )


def test_json_is_folded_as_escaped_text() -> None:
    template = Template("{% load payload %}{% json_value tree %}")
    tree = read_payload(json.dumps({"<b>": ["<i>", "\u202e"]}, ensure_ascii=False).encode()).tree()
    shown = template.render(Context({"tree": tree}))
    assert "<b>" not in shown
    assert "<i>" not in shown
    assert "&lt;i&gt;" in shown
    assert shown.count("<details") == 2
    assert "\u202e" not in shown


def test_json_beyond_what_a_page_can_fold_is_left_as_text() -> None:
    deep = b"[" * (JSON_DEPTH_MAX + 5) + b"]" * (JSON_DEPTH_MAX + 5)
    wide = json.dumps(list(range(JSON_NODES_MAX + 1))).encode()
    for content in (deep, wide):
        payload = read_payload(content)
        assert payload.kind is Kind.JSON
        assert payload.tree() is None
    assert read_payload(b"[" * 100_000).kind is Kind.TEXT


def test_long_text_is_cut_on_the_page() -> None:
    payload = read_payload(b"x" * (TEXT_LENGTH_MAX + 1))
    assert payload.is_cut
    assert len(payload.shown_text) == TEXT_LENGTH_MAX
    assert len(preview("é".encode() * 5_000)) == 221


def test_a_short_binary_key_is_also_read_as_a_number() -> None:
    assert read_payload((42).to_bytes(8, "big")).number == 42
    assert read_payload((-1 % 2**32).to_bytes(4, "big")).number == -1
    assert read_payload(b"text").number is None
