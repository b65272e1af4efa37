"""The Services page: every managed process, its log, and the three things an operator may do to it.

Live by polling: the supervisor answers in a millisecond and is asked only while somebody looks, and a page that
asked the collector instead would be blind exactly when the collector is the one that is down.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.shortcuts import render as render_partial
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from dashboard.audit import record
from dashboard.pages.shell import Crumb, render
from dashboard.services.supervisor import (
    COMMANDS,
    ServiceRow,
    Services,
    SupervisorError,
    change_service,
    effects,
    read_log,
    read_services,
)

PERMISSION = "dashboard.operate_services"


def may_operate(request: HttpRequest) -> bool:
    return bool(request.user.is_staff and request.user.has_perm(PERMISSION))


@require_safe
@login_required
def services(request: HttpRequest) -> HttpResponse:
    return render(request, "ottla/services/page.html", _table(request), title="Services")


@require_safe
@login_required
def table(request: HttpRequest) -> HttpResponse:
    """The part of the page that moves."""
    return render_partial(request, "ottla/services/table.html", _table(request))


@require_safe
@login_required
def service(request: HttpRequest, name: str) -> HttpResponse:
    return _service_page(request, name, {})


@require_safe
@login_required
def service_state(request: HttpRequest, name: str) -> HttpResponse:
    """The part of a service's page that moves."""
    return render_partial(request, "ottla/services/state.html", _details(request, name))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def change(request: HttpRequest, name: str, command: str) -> HttpResponse:
    """GET asks whether it is meant, POST does it."""
    if command not in COMMANDS:
        raise Http404("There is no such command.")
    if not may_operate(request):
        raise PermissionDenied("Operating services takes a staff account with that permission.")
    if request.method == "POST":
        return _do(request, name, command)
    row = _find(name)
    asked = {"command": command, "effects": effects(row, command), "refusal": row.refusal(command)}
    return _service_page(request, name, {"asked": asked})


def _do(request: HttpRequest, name: str, command: str) -> HttpResponse:
    before = _find(name)
    refusal = before.refusal(command)
    if not refusal:
        try:
            change_service(command, name, request.user.get_username())
        except SupervisorError as error:
            refusal = str(error)
    after = None if refusal else _facts(_find(name))
    record(request, f"{command} service", name, before=_facts(before), after=after, refused=refusal)
    if refusal:
        messages.error(request, f"{name}: {refusal}")
    else:
        done = {"stop": "has been stopped", "start": "has been started", "restart": "has been restarted"}[command]
        messages.success(request, f"{name} {done}.")
    return redirect("services")


def _service_page(request: HttpRequest, name: str, more: dict[str, Any]) -> HttpResponse:
    context = {**_details(request, name), **more}
    crumbs = [Crumb(title="Services", url=reverse("services")), Crumb(title=name)]
    return render(request, "ottla/services/service.html", context, title=name, crumbs=crumbs)


def _table(request: HttpRequest) -> dict[str, Any]:
    found, trouble = _read()
    return {"services": found, "trouble": trouble, "may_operate": may_operate(request)}


def _details(request: HttpRequest, name: str) -> dict[str, Any]:
    found, trouble = _read()
    row = found.find(name) if found is not None else None
    if found is not None and row is None:
        raise Http404(f"No service is called {name}.")
    lines: list[str] = []
    if row is not None:
        try:
            lines = read_log(name)
        except SupervisorError as error:
            trouble = str(error)
    return {
        "name": name,
        "row": row,
        "services": found,
        "trouble": trouble,
        "lines": lines,
        "may_operate": may_operate(request),
    }


def _find(name: str) -> ServiceRow:
    found, trouble = _read()
    row = found.find(name) if found is not None else None
    if row is None:
        raise Http404(trouble or f"No service is called {name}.")
    return row


def _read() -> tuple[Services | None, str]:
    try:
        return read_services(), ""
    except SupervisorError as error:
        return None, str(error)


def _facts(row: ServiceRow) -> dict[str, Any]:
    return {"state": str(row.state), "pid": row.pid}
