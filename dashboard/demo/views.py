"""The two buttons of the demo workload. The supervisor runs it; the web process never does."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from dashboard.audit import record
from dashboard.demo.names import LAGGING_GROUP, TOPICS
from dashboard.demo.status import BY_HAND, BY_HAND_STOP, SERVICE, demo_status
from dashboard.services.supervisor import SupervisorError, change_service
from dashboard.services.views import may_operate


@require_POST
@login_required
def start(request: HttpRequest) -> HttpResponse:
    return _change(request, "start", f"It writes to {' and '.join(TOPICS)}; the group {LAGGING_GROUP} lags on purpose.")


@require_POST
@login_required
def stop(request: HttpRequest) -> HttpResponse:
    return _change(request, "stop", "Its topics and offsets stay until somebody deletes them.")


def _change(request: HttpRequest, command: str, explanation: str) -> HttpResponse:
    if not may_operate(request):
        raise PermissionDenied("Starting and stopping the demo workload takes a staff account with that permission.")
    action = f"{command} demo workload"
    if not demo_status().managed:
        by_hand = BY_HAND if command == "start" else BY_HAND_STOP
        refusal = f"No supervisor is here to {command} it. In containers: {by_hand}"
    else:
        refusal = _ask(command, request.user.get_username())
    record(request, action, SERVICE, refused=refusal)
    if refusal:
        messages.error(request, f"Could not {action.replace(' demo', ' the demo')}. {refusal}")
    else:
        past = "started" if command == "start" else "stopped"
        messages.success(request, f"The demo workload is {past}. {explanation}")
    return redirect("overview")


def _ask(command: str, actor: str) -> str:
    """Empty when it was done, else why not."""
    try:
        change_service(command, SERVICE, actor)
    except SupervisorError as error:
        return str(error)
    return ""
