"""Template tags for payloads. Everything ends up as text nodes; characters that hide are shown as what they are."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join, json_script
from django.utils.safestring import SafeString, mark_safe

from broker.client.results import Record
from dashboard.live.rendering import wall_ms
from dashboard.messages.payload import Node, Payload, pieces
from dashboard.pages import format as text

register = template.Library()

OPEN_DEPTH = 3
"""Levels of a JSON value that are unfolded at first."""
BRACKETS = {"object": ("{", "}"), "array": ("[", "]")}


@register.filter
def visible(content: str) -> SafeString:
    """One line of a stranger's text."""
    return _marked(content, one_line=True)


@register.filter
def visible_lines(content: str) -> SafeString:
    """The same, keeping line breaks and tabs."""
    return _marked(content, one_line=False)


def _marked(content: str, *, one_line: bool) -> SafeString:
    return format_html_join(
        "",
        "{}",
        (
            (format_html('<span class="ot-hidden" title="{}">{}</span>', piece.hidden, piece.text),)
            if piece.hidden
            else (piece.text,)
            for piece in pieces(content, one_line=one_line)
        ),
    )


@register.simple_tag
def copy_source(payload: Payload, part: str, record: Record) -> SafeString:
    """What the copy button takes, exactly: as JSON, because markup would change line endings."""
    return json_script(payload.copyable, f"copy-{part}-{record.partition}-{record.offset}")


@register.simple_tag
def moment(at_ms: int) -> SafeString:
    """A time in full, with how long ago that is."""
    if at_ms < 0:
        return format_html('<span class="ot-muted">{}</span>', "none")
    return format_html('{} <span class="ot-muted">{}</span>', text.absolute(at_ms), text.ago(at_ms, wall_ms()))


@register.simple_tag
def short_moment(at_ms: int) -> str:
    """The time of day, with the date unless it is today's."""
    when, today = text.moment(at_ms).astimezone(), text.moment(wall_ms()).astimezone().date()
    clock = f"{when:%H:%M:%S}.{at_ms % 1000:03d}"
    return clock if when.date() == today else f"{when:%Y-%m-%d} {clock}"


@register.filter
def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


@register.simple_tag
def json_value(node: Node) -> SafeString:
    """A JSON value that folds."""
    return format_html('<div class="ot-json">{}</div>', _json(node, None, 0, last=True))


def _json(node: Node, name: str | None, depth: int, *, last: bool) -> SafeString:
    label = (
        mark_safe("")
        if name is None
        else format_html('<span class="ot-json__name">{}</span>: ', _marked(name, one_line=True))
    )
    comma = "" if last else ","
    if node.kind not in BRACKETS:
        leaf = _marked(node.text, one_line=True)
        return format_html(
            '<div class="ot-json__line">{}<span class="ot-json__{}">{}</span>{}</div>', label, node.kind, leaf, comma
        )
    opening, closing = BRACKETS[node.kind]
    if not node.children:
        return format_html('<div class="ot-json__line">{}{}{}{}</div>', label, opening, closing, comma)
    inner = format_html_join(
        "",
        "{}",
        (
            (_json(child, child_name, depth + 1, last=index == len(node.children) - 1),)
            for index, (child_name, child) in enumerate(node.children)
        ),
    )
    return format_html(
        '<details class="ot-json__node"{}><summary>{}{}<span class="ot-json__count">{}</span></summary>'
        '<div class="ot-json__children">{}</div><div class="ot-json__line">{}{}</div></details>',
        mark_safe(" open") if depth < OPEN_DEPTH else "",
        label,
        opening,
        f"{len(node.children)} … {closing}{comma}",
        inner,
        closing,
        comma,
    )
