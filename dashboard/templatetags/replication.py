"""Template tags of the pages about replicas, brokers and the controller."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard.live.replication_rows import EventRow, PartitionRow
from dashboard.live.state import BrokerRow
from dashboard.pages import words
from dashboard.pages.addresses import topic_address
from dashboard.pages.format import clock, count, duration, partition_ranges, size
from dashboard.templatetags.ottla import broker, icon, num, unknown

register = template.Library()

TOPICS_NAMED_MAX = 3

register.filter("partition_reason", words.partition_reason)
register.filter("led_elsewhere", words.led_elsewhere)
register.filter("cause_words", words.cause_words)
register.filter("store_words", words.store_words)
register.filter("brokers_words", words.brokers_words)
register.filter("brokers_of", lambda ids: words.brokers_words(sorted(ids)))
register.filter("broker_condition", words.broker_condition)
register.filter("broker_reason", words.broker_reason)
register.filter("replica_role", words.replica_role)
register.filter("event_title", words.event_title)
register.filter("event_level", words.event_level)
register.filter("clock_text", clock)
register.filter("seconds_words", duration)
register.filter("add_to", lambda value, other: value + other)


@register.simple_tag
def replicas(row: PartitionRow) -> SafeString:
    """Every replica in the order of the assignment: in sync, missing (dashed), on its way here, leaving."""
    return format_html(
        '<span class="ot-brokers">{}</span>', format_html_join("", "{}", (_replica(row, b) for b in row.replicas))
    )


def _replica(row: PartitionRow, broker_id: int) -> tuple[SafeString]:
    if broker_id in row.adding and broker_id not in row.isr:
        return (_marked(broker_id, "coming", "is being copied here"),)
    if broker_id not in row.isr:
        eligible = ", but has everything that was acknowledged" if broker_id in row.elr else ""
        return (_marked(broker_id, "missing", f"is not in sync{eligible}"),)
    if broker_id in row.removing:
        return (_marked(broker_id, "leaving", "is in sync, and leaves when the move is done"),)
    role = "leads" if broker_id == row.leader else "in sync"
    preferred = ", preferred leader" if broker_id == row.preferred_leader else ""
    return (broker(broker_id, f"{role}{preferred}"),)


def _marked(broker_id: int, css: str, says: str) -> SafeString:
    return format_html(
        '<span class="ot-broker ot-broker--{}" title="broker {} {}">{}<span class="ot-sr"> {}</span></span>',
        css,
        broker_id,
        says,
        broker_id,
        says,
    )


@register.simple_tag
def broker_ids(ids: list[int]) -> SafeString:
    """Brokers in their colours, or a dash."""
    if not ids:
        return format_html('<span class="ot-muted">{}</span>', "none")
    return format_html(
        '<span class="ot-brokers">{}</span>', format_html_join("", "{}", ((broker(one),) for one in ids))
    )


@register.simple_tag
def event_brokers(event: EventRow) -> SafeString:
    """``2 → 1``, or who joined the set and who left it."""
    if event.kind == "isr":
        gone = format_html_join("", "{}", ((_marked(one, "missing", "fell out of sync"),) for one in event.lost))
        came = format_html_join("", "{}", ((broker(one, "in sync again"),) for one in event.gained))
        return format_html('<span class="ot-brokers">{}{}</span>', gone, came)
    if event.kind == "broker":
        return broker_ids(event.after or event.before)
    if not event.before:
        return broker_ids(event.after)
    return format_html("{} {} {}", broker_ids(event.before), icon("arrow_right_alt"), broker_ids(event.after))


@register.simple_tag
def event_places(event: EventRow) -> SafeString:
    """The partitions of an event by topic, the first few of them."""
    if not event.count:
        return format_html('<span class="ot-muted">{}</span>', "the cluster")
    by_topic: dict[str, list[int]] = {}
    for place in event.places:
        by_topic.setdefault(place.topic, []).append(place.partition)
    shown = list(by_topic.items())[:TOPICS_NAMED_MAX]
    named = sum(len(numbers) for _, numbers in shown)
    listed = format_html_join(
        ", ",
        '<a class="ot-quiet" href="{}">{}</a> <span class="ot-muted">{}</span>',
        ((topic_address(topic), topic, partition_ranges(numbers)) for topic, numbers in shown),
    )
    more = event.count - named
    rest = format_html(' <span class="ot-muted">and {} more</span>', count(more)) if more > 0 else ""
    return format_html("{}{}", listed, rest)


@register.simple_tag
def disk(row: BrokerRow) -> SafeString:
    """How full the disk of its log directory is: a meter and words."""
    free, total = row.disk_free_bytes, row.disk_total_bytes
    if free < 0 or total <= 0:
        return unknown("it has not told of its disk")
    used = total - free
    return format_html(
        '<meter class="ot-meter" min="0" max="100" low="75" high="90" optimum="0" value="{}" aria-hidden="true"></meter> '
        '<span class="ot-nowrap" title="of {}">{} free</span>',
        round(used * 100 / total),
        size(total),
        num(free, "size", "", row.id),
    )


@register.simple_tag
def share(value: float | str | None) -> SafeString:
    """``; an even share`` or ``; +12 % of an even share``, behind something else; nothing where there is nothing to share."""
    if value is None or isinstance(value, str):
        return format_html("{}", "")
    return format_html("; {}", "an even share" if abs(value) < 1 else format_html("{} of an even share", skew(value)))


@register.simple_tag
def skew(value: float | str | None) -> SafeString:
    """``+12 %`` of an even share, marked when it is far from it. A string is what a template makes of a missing row."""
    if value is None or isinstance(value, str):
        return format_html('<span class="ot-muted" title="{}">{}</span>', "There is nothing to share", "—")
    css = "ot-warn-text" if abs(value) >= words.SKEW_WARN_PERCENT else "ot-muted"
    shown = "even" if abs(value) < 1 else f"{value:+.0f} %"
    return format_html('<span class="{}" title="{}">{}</span>', css, f"{value:+.1f} % from an even share", shown)
