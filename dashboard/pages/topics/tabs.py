"""The tabs of a topic's page.

A tab is a name for the URL, a label, a template, and a function that fetches what the template shows beyond the live
rows. Another part adds one with ``register_tab`` (from its ``apps.py`` or by a line in ``TABS``); the page needs no
change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from dashboard.gateway import GatewayError, gateway

Fetch = Callable[[HttpRequest, str], dict[str, Any]]
"""(request, topic name) → context for the template. May raise ``GatewayError``: the page then says what failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    slug: str
    label: str
    template: str
    fetch: Fetch = lambda request, name: {}
    order: int = 100


def _configuration(request: HttpRequest, name: str) -> dict[str, Any]:
    entries = gateway().topic_configs(name)
    needle = request.GET.get("q", "").strip().casefold()
    changed_only = request.GET.get("changed") == "1"
    shown = [
        entry
        for entry in entries
        if (not needle or needle in entry.name.casefold()) and (not changed_only or not entry.is_default)
    ]
    return {
        "entries": shown,
        "entry_count": len(entries),
        "changed_count": sum(not entry.is_default for entry in entries),
        "config_filter": request.GET.get("q", "").strip(),
        "changed_only": changed_only,
    }


TABS: list[Tab] = [
    Tab(slug="partitions", label="Partitions", template="ottla/topic/partitions.html", order=10),
    Tab(slug="groups", label="Groups", template="ottla/topic/groups.html", order=30),
    Tab(
        slug="configuration",
        label="Configuration",
        template="ottla/topic/configuration.html",
        fetch=_configuration,
        order=40,
    ),
]


def register_tab(tab: Tab) -> None:
    """Add or replace a tab."""
    TABS[:] = sorted([*(known for known in TABS if known.slug != tab.slug), tab], key=lambda known: known.order)


def find_tab(slug: str) -> Tab | None:
    return next((tab for tab in TABS if tab.slug == slug), None)


def fetch_tab(tab: Tab, request: HttpRequest, name: str) -> dict[str, Any]:
    """The tab's context; a broker that refuses or does not answer becomes ``trouble`` in words."""
    try:
        return tab.fetch(request, name)
    except GatewayError as error:
        return {"trouble": str(error)}
