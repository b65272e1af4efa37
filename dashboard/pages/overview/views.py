"""The first page: how the cluster is, in one sentence and one screen."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from dashboard.pages.overview.live import OverviewPage
from dashboard.pages.shell import render_live
from dashboard.pages.topics.links import create_topic_url


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    context = {"bootstrap": ", ".join(settings.OTTLA_BOOTSTRAP), "create_url": create_topic_url(request)}
    return render_live(request, OverviewPage(), "ottla/overview/page.html", context, title="Overview")
