"""The Replication page: who follows whom, what needs a look, what changed and why."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from dashboard.pages.shell import render_live
from dashboard.replication.live import EVENT_COLUMNS, ReplicationPage


@require_safe
@login_required
def replication(request: HttpRequest) -> HttpResponse:
    page = ReplicationPage(request.GET)
    extra = {name: value for name, value in (("show", page.show), ("range", request.GET.get("range", ""))) if value}
    context = {
        "listing": page.listing,
        "events": page.events,
        "event_columns": list(EVENT_COLUMNS.values()),
        "filter_extra": extra,
    }
    return render_live(request, page, "ottla/replication/page.html", context, title="Replication")
