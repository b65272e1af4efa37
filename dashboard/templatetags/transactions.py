"""Template tags for transactions."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard.pages.format import LEVEL_ICONS
from dashboard.transactions.survey import TransactionView
from dashboard.transactions.views import address_of, name_of

register = template.Library()
register.filter("transaction_name", name_of)
register.filter("transaction_url", address_of)

ICONS = {"open": "pending", "committing": "sync", "aborting": "sync", "being fenced": "sync"}
TITLES = {
    "hanging": "A partition has it open and no coordinator knows of it: nobody will end it",
    "open": "Its producer has begun it and not ended it yet",
    "committing": "Decided: the markers are being written",
    "aborting": "Decided: the markers are being written",
    "being fenced": "Another producer has taken over the id",
    "committed": "The last one was committed",
    "aborted": "The last one was aborted",
    "nothing yet": "The id has a producer and no transaction yet",
    "expired": "The id has not been used for long",
}


@register.simple_tag
def transaction_state(one: TransactionView, now_ms: int) -> SafeString:
    level = one.level(now_ms)
    icon = ICONS.get(one.word, "") if level == "good" else ""
    return format_html(
        '<span class="ot-level ot-level--{}" title="{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
        '<span class="ot-level__word">{}</span></span>',
        "run" if icon else level,
        TITLES.get(one.word, ""),
        icon or LEVEL_ICONS[level],
        one.word,
    )
