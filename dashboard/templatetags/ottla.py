"""Template tags of every Ottla page: numbers with their reason, times, levels, live targets, sort links.

All markup that repeats is made here or in ``templates/ottla/components``; pages compose it. Nothing here marks
text as safe that came from a user or a broker: everything goes through ``format_html``.
"""

from __future__ import annotations

from typing import Any

from django import template
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from dashboard.live import rendering
from dashboard.live.view import View
from dashboard.pages import format as text
from dashboard.pages.addresses import group_address, topic_address

register = template.Library()

FORMATS = {
    "count": text.count,
    "size": text.size,
    "rate": text.rate,
    "byte_rate": text.byte_rate,
    "percent": lambda value: f"{value:.1f} %" if value < 10 else f"{value:.0f} %",
    "offset": lambda value: f"{value:,}",
}
PALETTE_SIZE = 8

register.filter("state_words", text.state_words)
register.filter("group_type_words", text.group_type_words)
register.filter("member_state_words", text.member_state_words)
register.filter("partition_ranges", text.partition_ranges)
register.filter("epoch_ms", lambda value: int(value.timestamp() * 1000))
register.filter("milliseconds_words", lambda value: text.duration(value / 1000))
register.filter("offset_text", lambda value: f"{value:,}")
register.filter("percent_of", lambda share: share * 100)
register.filter("subtract", lambda value, other: value - other)
register.filter("is_due", lambda fate, now_ms: fate.is_due(now_ms))
register.filter("size", text.size)
register.filter("count", text.count)


@register.simple_tag
def num(value: float | str | None, kind: str = "count", reason: str = "not known yet", source: int = -1) -> SafeString:
    """A live number: exact value on hover, the broker it came from as data; a dash with the reason when unknown.

    An empty string is what a template makes of an attribute of a row that does not exist: unknown too.
    """
    if value is None or isinstance(value, str):
        return unknown(reason)
    shown = FORMATS[kind](value)
    exact = text.exact(value)
    unit = {"size": " bytes", "byte_rate": " bytes/s", "rate": "/s"}.get(kind, "")
    title = "" if exact == shown else f"{exact}{unit}"
    return format_html(
        '<data class="ot-n" value="{}" data-source="{}" title="{}">{}</data>', value, source, title, shown
    )


@register.simple_tag
def unknown(reason: str = "not known yet") -> SafeString:
    return format_html(
        '<span class="ot-unknown" title="{}">—<span class="ot-sr"> ({})</span></span>', f"Unknown: {reason}", reason
    )


@register.simple_tag
def offset(value: int, source: int = -1, reason: str = "the leader has not told") -> SafeString:
    """An offset; -1 means there is none."""
    return unknown(reason) if value < 0 else num(value, "offset", source=source)


@register.simple_tag
def ago(at_ms: int, never: str = "never") -> SafeString:
    """A relative time that the page keeps counting; the absolute one is the title."""
    if at_ms < 0:
        return format_html('<span class="ot-muted">{}</span>', never)
    return format_html(
        '<time class="ot-time" datetime="{}" data-ago="{}" title="{}">{}</time>',
        text.moment(at_ms).isoformat(timespec="milliseconds"),
        at_ms,
        text.absolute(at_ms),
        text.ago(at_ms, rendering.wall_ms()),
    )


@register.simple_tag
def since(at_ms: int) -> SafeString:
    """How long ago something began: ``3 h``."""
    if at_ms < 0:
        return unknown("the broker has not told")
    seconds = max(0.0, (rendering.wall_ms() - at_ms) / 1000)
    return format_html(
        '<time class="ot-time" datetime="{}" data-since="{}" title="since {}">{}</time>',
        text.moment(at_ms).isoformat(timespec="milliseconds"),
        at_ms,
        text.absolute(at_ms),
        text.duration(seconds),
    )


@register.simple_tag
def clock(at_ms: int) -> SafeString:
    """The time of day; the page turns it into the reader's own time zone."""
    return format_html(
        '<time class="ot-time" datetime="{}" data-clock="{}" title="{}">{}</time>',
        text.moment(at_ms).isoformat(timespec="milliseconds"),
        at_ms,
        text.absolute(at_ms),
        text.clock(at_ms),
    )


@register.simple_tag(takes_context=True)
def behind(context: template.Context, row: Any) -> SafeString:
    """Seconds of lag of a group or partition row, counted to the sample it belongs to."""
    if row.lag == 0:
        return format_html('<data class="ot-n" value="0" data-source="{}">0 s</data>', row.source)
    if row.lag is None:
        return unknown("its lag is not known")
    if not row.time_lag_known or row.behind_since_ms < 0:
        return unknown("the time of the next unread record is not known")
    view: View | None = context.get("view")
    pulse = view.pulse if view is not None else None
    now_ms = pulse.sampled.get(row.source, rendering.wall_ms()) if pulse is not None else rendering.wall_ms()
    seconds = max(0.0, (now_ms - row.behind_since_ms) / 1000)
    return format_html(
        '<span class="ot-n" data-source="{}" data-behind="{}" title="{}">{}</span>',
        row.source,
        row.behind_since_ms,
        f"The next record to be read was written at {text.absolute(row.behind_since_ms)}",
        text.duration(seconds),
    )


@register.simple_tag
def level(value: str, word: str = "", title: str = "") -> SafeString:
    """Good, warn, bad, idle or unknown: an icon and a word as well as a colour."""
    return format_html(
        '<span class="ot-level ot-level--{}" title="{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
        '<span class="ot-level__word">{}</span></span>',
        value,
        title,
        text.LEVEL_ICONS.get(value, "help"),
        word or text.LEVEL_WORDS.get(value, value),
    )


@register.simple_tag
def icon(name: str) -> SafeString:
    return format_html('<span class="material-symbols-outlined ot-icon" aria-hidden="true">{}</span>', name)


@register.simple_tag
def broker(broker_id: int, role: str = "") -> SafeString:
    """A broker in the colour it has on every page."""
    if broker_id < 0:
        return format_html('<span class="ot-bad-text" title="{}">none</span>', "No broker leads it")
    return format_html(
        '<span class="ot-broker ot-broker--{}" title="broker {}{}">{}</span>',
        (broker_id - 1) % PALETTE_SIZE + 1,
        broker_id,
        f", {role}" if role else "",
        broker_id,
    )


@register.simple_tag
def broker_list(ids: list[int], missing_from: list[int] | None = None) -> SafeString:
    """Brokers of a replica set; those of ``missing_from`` that are not among them are shown as missing."""
    shown = format_html_join("", "{}", ((broker(broker_id),) for broker_id in ids))
    lost = [broker_id for broker_id in missing_from or [] if broker_id not in ids]
    gone = format_html_join(
        "",
        '<span class="ot-broker ot-broker--missing" title="broker {} is not in sync">{}</span>',
        ((b, b) for b in lost),
    )
    return format_html('<span class="ot-brokers">{}{}</span>', shown, gone)


@register.simple_tag
def age(source: int | str = "all") -> SafeString:
    """The freshness badge of a card or table; live.js keeps it counting. ``source``: a broker id, ``all``, or
    ``answering`` for what those that answer tell of the whole cluster."""
    return format_html('<span class="ot-age" data-age="{}" hidden></span>', source)


@register.simple_tag(takes_context=True)
def live(context: template.Context, target: str) -> SafeString:
    """The live target of that id, rendered as every later push renders it."""
    fragment = context["page"].fragment(context["view"], target)
    if fragment is None:
        return mark_safe("")
    return mark_safe(rendering.render_fragment(fragment, context["view"]))


@register.simple_tag
def link_or_none(name: str, *args: Any) -> str:
    """The address of a page that another part may or may not provide; empty when it does not."""
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        return ""


register.simple_tag(group_address, name="group_url")
register.simple_tag(topic_address, name="topic_url")


@register.simple_tag
def alert_link(link: str) -> str:
    """Where an alert leads."""
    kind, _, name = link.partition(":")
    match kind:
        case "topic":
            return topic_address(name)
        case "group":
            return group_address(name)
        case "broker":
            return link_or_none("broker", name)
        case "jobs" | "services" | "transactions" | "clients" | "controller" | "replication":
            return link_or_none(kind)
        case _:
            return ""


@register.inclusion_tag("ottla/components/sort.html")
def sort(listing: Any, column: str) -> dict[str, Any]:
    """A sortable column header."""
    found = listing.columns[column]
    active = listing.sort == column
    return {
        "label": found.label,
        "title": found.title,
        "numeric": found.numeric,
        "url": listing.sort_url(column),
        "active": active,
        "descending": listing.descending,
        "direction": ("descending" if listing.descending else "ascending") if active else "none",
        "extra": found.css,
    }


@register.filter
def code_marks(value: str) -> SafeString:
    """A config's documentation: what stands between backticks is code."""
    parts = value.split("`")
    return format_html_join(
        "",
        "{}",
        ((format_html("<code>{}</code>", part) if index % 2 else part,) for index, part in enumerate(parts)),
    )


@register.filter
def dotted(name: str) -> SafeString:
    """A long name of the kind ``log.retention.ms``, which breaks behind its dots where it has no room."""
    return format_html_join(mark_safe(".<wbr>"), "{}", ((part,) for part in name.split(".")))


CONFIG_ORIGINS = {
    "DYNAMIC_TOPIC_CONFIG": ("set on this topic", "ot-tag ot-tag--accent"),
    "DYNAMIC_GROUP_CONFIG": ("set for this group", "ot-tag ot-tag--accent"),
    "DYNAMIC_BROKER_CONFIG": ("broker, at run time", "ot-tag"),
    "DYNAMIC_DEFAULT_BROKER_CONFIG": ("all brokers, at run time", "ot-tag"),
    "STATIC_BROKER_CONFIG": ("broker's start-up", "ot-tag"),
    "DEFAULT_CONFIG": ("default", "ot-muted"),
}


@register.simple_tag
def config_value(entry: Any) -> SafeString:
    """A config's value as people read it, with the raw one beside it."""
    if entry.sensitive:
        return format_html(
            '<span class="ot-muted" title="{}">hidden</span>', "The broker never tells a sensitive value"
        )
    if entry.value is None:
        return format_html('<span class="ot-muted">{}</span>', "not set")
    readable = text.config_words(entry.name, entry.value)
    if readable == entry.value:
        return format_html("{}", entry.value or "(empty)")
    return format_html('{} <span class="ot-muted">{}</span>', readable, entry.value)


@register.simple_tag
def config_origin(entry: Any) -> SafeString:
    """Where the value comes from, in words, with what it overrides on hover."""
    words, css = CONFIG_ORIGINS.get(entry.source, ("unknown", "ot-muted"))
    others = ", ".join(
        f"{CONFIG_ORIGINS.get(synonym.source, (synonym.source, ''))[0]}: {synonym.value} ({synonym.name})"
        for synonym in entry.synonyms
        if synonym.value is not None
    )
    return format_html('<span class="{}" title="{}">{}</span>', css, others, words)
