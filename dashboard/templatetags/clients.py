"""Template tags for clients and what they push."""

from __future__ import annotations

import uuid

from django import template

from broker.protocol.private import MetricPoint
from dashboard.clients.metrics import UNITS
from dashboard.clients.views import one_connection_query
from dashboard.pages import format as text

register = template.Library()
register.filter("connection_query", one_connection_query)
register.filter("as_uuid", lambda raw: uuid.UUID(bytes=raw))


@register.filter
def idle_words(milliseconds: int) -> str:
    """Idle times are exact to a second."""
    return "now" if milliseconds < 2_000 else text.duration(milliseconds / 1000)


@register.filter
def point_value(point: MetricPoint) -> str:
    value = text.size(point.value) if point.unit in ("By", "bytes") else text.count(round(point.value, 3))
    unit = UNITS.get(point.unit, point.unit) if point.unit not in ("By", "bytes") else ""
    return f"{value} {unit}".strip()


@register.simple_tag
def config_text(configs: dict[str, str], name: str, none: str) -> str:
    """A config of a subscription as people read it."""
    value = configs.get(name, "")
    return text.config_words(name, value) if value else none
