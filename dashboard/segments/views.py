"""The part of the "Segments" tab that moves, for its polls."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as render_partial
from django.views.decorators.http import require_safe

from dashboard.gateway import GatewayError
from dashboard.segments.tab import segments_tab


@require_safe
@login_required
def part(request: HttpRequest, name: str) -> HttpResponse:
    try:
        context = segments_tab(request, name)
    except GatewayError as error:
        return HttpResponse(f"{error}\n", status=503, content_type="text/plain", headers={"Cache-Control": "no-store"})
    response = render_partial(request, "ottla/segments/part.html", {"name": name, **context})
    response.headers["Cache-Control"] = "no-store"
    return response
