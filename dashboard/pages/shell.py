"""The frame around every page: navigation, breadcrumbs, freshness, and the data the page starts from.

``render`` is for pages of any kind inside the shell; ``render_live`` also reads the snapshot, lets the page choose
its rows and tells the browser what to subscribe to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as django_render

from dashboard.live import rendering
from dashboard.live.messages import NAME_LENGTH_MAX, QUERY_LENGTH_MAX
from dashboard.live.state import CLUSTER, PROTOCOL_VERSION, HeadRow
from dashboard.live.store import StoreError, readable_store
from dashboard.live.view import LivePage, View
from dashboard.pages.shell_live import ShellPage


@dataclass(frozen=True, slots=True, kw_only=True)
class Crumb:
    title: str
    url: str = ""
    """Empty for the page itself."""


def shell_context(request: HttpRequest) -> dict[str, Any]:
    """What unfold's layout needs, for every signed-in user: its own admin site only fills it for staff."""
    site = admin.site
    context = site.each_context(request)
    if not context.get("sidebar_navigation") and hasattr(site, "get_sidebar_list"):
        context["sidebar_navigation"] = site.get_sidebar_list(request)
    context["has_permission"] = True
    context["is_nav_sidebar_enabled"] = True
    context["cluster_name"] = settings.OTTLA_CLUSTER_NAME
    return context


def render(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    title: str,
    crumbs: Sequence[Crumb] = (),
    status: int = 200,
) -> HttpResponse:
    """A page without live targets of its own."""
    return render_live(request, ShellPage(), template, context, title=title, crumbs=crumbs, status=status)


MAYBE_DELETED = "It may have been deleted, or never have been there. Names are case-sensitive."


def missing(request: HttpRequest, sentence: str, parent: Crumb, *, why: str = MAYBE_DELETED) -> HttpResponse:
    """Not found, inside the shell, with a way back."""
    context = {"sentence": sentence, "parent": parent, "why": why}
    return render(
        request, "ottla/missing.html", context, title="Not found", crumbs=[parent, Crumb(title="Not found")], status=404
    )


def render_live(
    request: HttpRequest,
    page: LivePage,
    template: str,
    context: dict[str, Any],
    *,
    title: str,
    crumbs: Sequence[Crumb] = (),
    view: View | None = None,
    status: int = 200,
) -> HttpResponse:
    """A page with live targets: they are rendered from the snapshot now and from pushes later."""
    if view is None:
        view, trouble = read_view(page)
    else:
        trouble = ""
    page.arrange(view)
    head = view.row(CLUSTER, "head")
    return django_render(
        request,
        template,
        {
            **shell_context(request),
            **context,
            "title": title,
            "crumbs": crumbs,
            "page": page,
            "view": view,
            "pulse": view.pulse,
            "head": head if isinstance(head, HeadRow) else HeadRow(),
            "store_trouble": trouble,
            "silent_since": rendering.collector_silent_since(view, rendering.wall_ms()),
            "live_config": {
                "protocol": PROTOCOL_VERSION,
                **subscription(page),
                "query": subscription_query(request),
                "pulse": rendering.pulse_message(view),
                "series": read_series(page),
            },
        },
        status=status,
    )


def subscription(page: LivePage) -> dict[str, str]:
    """What the browser subscribes to. A name longer than the socket takes gets freshness, but no pushes."""
    subject = getattr(page, "subject", "")
    if len(subject) > NAME_LENGTH_MAX:
        return {"page": ShellPage.name, "name": ""}
    return {"page": page.name, "name": subject}


def subscription_query(request: HttpRequest) -> str:
    """What the page's live targets depend on. An address longer than the socket takes has none that matter."""
    query = request.GET.urlencode()
    return query if len(query) <= QUERY_LENGTH_MAX else ""


def read_view(page: LivePage) -> tuple[View, str]:
    """(the page's view, why it could not be read)."""
    scopes = page.scopes if CLUSTER in page.scopes else (*page.scopes, CLUSTER)
    try:
        return View.of(readable_store().read(scopes)), ""
    except StoreError as error:
        return View(), str(error)


def read_series(page: LivePage) -> dict[str, Any]:
    try:
        return {series: readable_store().history(series) for series in page.series}
    except StoreError:
        return {}
