"""The topic list and a topic's page."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard.gateway import GatewayError, gateway
from dashboard.live.state import TOPICS
from dashboard.live.store import StoreError, readable_store
from dashboard.pages.shell import Crumb, missing, read_view, render_live
from dashboard.pages.topics.links import configure_topic_url, create_topic_url
from dashboard.pages.topics.live import TOPIC_COLUMNS, TopicPage, TopicsPage
from dashboard.pages.topics.tabs import TABS, fetch_tab, find_tab


@require_safe
@login_required
def topics(request: HttpRequest) -> HttpResponse:
    page = TopicsPage(request.GET)
    context = {
        "listing": page.listing,
        "columns": list(TOPIC_COLUMNS),
        "create_url": create_topic_url(request),
        "filter_extra": {"internal": "1"} if page.internal else {},
        "internal_url": "?" if page.internal else "?internal=1",
    }
    return render_live(request, page, "ottla/topics/page.html", context, title="Topics")


@require_safe
@login_required
def topic(request: HttpRequest, name: str) -> HttpResponse:
    return render_topic(request, name, request.GET.get("tab") or "partitions")


def render_topic(
    request: HttpRequest, name: str, slug: str, extra: dict[str, Any] | None = None, *, status: int = 200
) -> HttpResponse:
    """The topic's page with one of its tabs. ``extra`` replaces parts of the tab's context: a form with errors."""
    tab = find_tab(slug)
    if tab is None:
        raise Http404("There is no such tab.")
    query = request.GET.copy()
    query["tab"] = slug
    page = TopicPage(name, query)
    view, _ = read_view(page)
    found = page.topic(view)
    if found is None and _certainly_missing(name):
        return missing(request, f"There is no topic called {name}.", Crumb(title="Topics", url=reverse("topics")))
    context = {
        "name": name,
        "topic": found,
        "tab": tab,
        "tabs": TABS,
        "listing": page.listing,
        "configure_url": configure_topic_url(request, name),
        **fetch_tab(tab, request, name),
        **(extra or {}),
    }
    crumbs = [Crumb(title="Topics", url=reverse("topics")), Crumb(title=name)]
    return render_live(
        request, page, "ottla/topic/page.html", context, title=name, crumbs=crumbs, view=view, status=status
    )


def _certainly_missing(name: str) -> bool:
    """The collector knows the topics and this is none of them; a page opened right after creating one just waits."""
    try:
        if TOPICS not in readable_store().read([TOPICS]).scopes:
            return False
        return not gateway().topic_exists(name)
    except (StoreError, GatewayError):
        return False
