"""The topic list and a topic's page."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard.gateway import GatewayError, gateway
from dashboard.live.state import TOPICS
from dashboard.live.store import StoreError, readable_store
from dashboard.pages.shell import Crumb, read_view, render_live
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
    tab = find_tab(request.GET.get("tab") or "partitions")
    if tab is None:
        raise Http404("There is no such tab.")
    page = TopicPage(name, request.GET)
    view, _ = read_view(page)
    found = page.topic(view)
    if found is None and _certainly_missing(name):
        raise Http404(f"There is no topic called {name}.")
    context = {
        "name": name,
        "topic": found,
        "tab": tab,
        "tabs": TABS,
        "listing": page.listing,
        "configure_url": configure_topic_url(request, name),
        **fetch_tab(tab, request, name),
    }
    crumbs = [Crumb(title="Topics", url=reverse("topics")), Crumb(title=name)]
    return render_live(request, page, "ottla/topic/page.html", context, title=name, crumbs=crumbs, view=view)


def _certainly_missing(name: str) -> bool:
    """The collector knows the topics and this is none of them; a page opened right after creating one just waits."""
    try:
        if TOPICS not in readable_store().read([TOPICS]).scopes:
            return False
        return not gateway().topic_exists(name)
    except (StoreError, GatewayError):
        return False
