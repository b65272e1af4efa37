"""The first page: how the cluster is, in one sentence and one screen."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from dashboard.demo.status import BY_HAND, demo_status
from dashboard.pages.overview.live import OverviewPage
from dashboard.pages.shell import render_live
from dashboard.pages.topics.links import create_topic_url
from dashboard.services.views import may_operate


@require_safe
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    context = {
        "bootstrap": ", ".join(settings.OTTLA_BOOTSTRAP),
        "create_url": create_topic_url(request),
        "demo": demo_status(),
        "demo_by_hand": BY_HAND,
        "may_operate": may_operate(request),
    }
    return render_live(request, OverviewPage(), "ottla/overview/page.html", context, title="Overview")
