"""The Controller page: who decides, since when, what it is doing, and whether the metadata store answers."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from dashboard.controller.live import ControllerPage
from dashboard.pages.shell import render_live


@require_safe
@login_required
def controller(request: HttpRequest) -> HttpResponse:
    return render_live(request, ControllerPage(), "ottla/controller/page.html", {}, title="Controller")
