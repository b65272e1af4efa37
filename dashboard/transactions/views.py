"""The Transactions page, a transaction's own page, and ending one by force.

Live by polling: coordinators and partition leaders are asked every two seconds while somebody looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.shortcuts import render as render_partial
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from dashboard import audit
from dashboard.gateway import GatewayError, gateway
from dashboard.pages.shell import Crumb, missing, render
from dashboard.transactions.reading import read_survey
from dashboard.transactions.survey import Survey, TransactionView
from dashboard.transactions.table import TransactionsTable

PERMISSION = "dashboard.abort_transaction"
NOT_ALLOWED = "Your account may look at transactions but not end them. An administrator can give it that permission."
POLL_HEADER = "X-Ottla-Poll"
ACTION = "abort transaction"


@require_safe
@login_required
def transactions(request: HttpRequest) -> HttpResponse:
    polled = POLL_HEADER in request.headers
    try:
        survey = read_survey()
    except GatewayError as error:
        return _unread(request, error, "ottla/transactions/page.html", title="Transactions")
    context = {"survey": survey, "listing": TransactionsTable(request.GET, survey), "now_ms": survey.now_ms}
    if polled:
        return _part(request, "ottla/transactions/part.html", context)
    return render(request, "ottla/transactions/page.html", context, title="Transactions")


@require_safe
@login_required
def transaction(request: HttpRequest) -> HttpResponse:
    """``?id=`` of a transactional id, or ``?producer=`` of one that hangs."""
    polled = POLL_HEADER in request.headers
    try:
        survey = read_survey()
    except GatewayError as error:
        crumbs = _crumbs("Transaction")
        return _unread(request, error, "ottla/transactions/one.html", title="Transaction", crumbs=crumbs)
    found = _find(request, survey)
    name = (
        name_of(found) if found is not None else request.GET.get("id") or f"producer {request.GET.get('producer', '')}"
    )
    context = {"one": found, "name": name, "now_ms": survey.now_ms, **_ending(request, found)}
    if polled:
        return _part(request, "ottla/transactions/one_part.html", context)
    if found is None:
        sentence = f"No coordinator and no partition knows a transaction of {name} any more."
        return missing(request, sentence, Crumb(title="Transactions", url=reverse("transactions")))
    return render(request, "ottla/transactions/one.html", context, title=name, crumbs=_crumbs(name))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def abort(request: HttpRequest) -> HttpResponse:
    """GET lists what it does, POST with the id typed does it."""
    try:
        survey = read_survey()
    except GatewayError as error:
        context: dict[str, Any] = {"trouble": str(error)}
        return render(
            request, "ottla/transactions/abort.html", context, title="Abort", crumbs=_crumbs("Abort"), status=503
        )
    found = _find(request, survey)
    if found is None:
        raise Http404("There is no such transaction.")
    name = name_of(found)
    context = {"one": found, "name": name, "typed_wanted": typed_name(found), **_ending(request, found)}
    if request.method == "POST":
        answer = _abort(request, found, context)
        if answer is not None:
            return answer
    status = 409 if context.get("error") else 200
    crumbs = [*_crumbs(name, address_of(found)), Crumb(title="Abort")]
    return render(
        request, "ottla/transactions/abort.html", context, title=f"Abort {name}", crumbs=crumbs, status=status
    )


def _abort(request: HttpRequest, found: TransactionView, context: dict[str, Any]) -> HttpResponse | None:
    """The answer when it is done; ``None``: show the page again, with what is wrong."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied(NOT_ALLOWED)
    context["typed"] = request.POST.get("typed_name", "")
    if context["refusal"]:
        context["error"] = context["refusal"]
        return None
    if context["typed"] != typed_name(found):
        context["error"] = "That is not it. Nothing was changed."
        return None
    before = {
        "state": found.word,
        "producer id": found.producer_id,
        "epoch": found.producer_epoch,
        "partitions": [str(held.topic_partition) for held in found.held],
    }
    subject = found.transactional_id or f"producer {found.producer_id}"
    try:
        if found.hanging:
            for held in found.held:
                assert held.producer is not None, "a hanging transaction is known by its producer alone"
                gateway().abort_in_partition(
                    *held.topic_partition,
                    found.producer_id,
                    held.producer.producer_epoch,
                    max(0, held.producer.coordinator_epoch),
                )
        else:
            gateway().terminate_transaction(found.transactional_id)
    except GatewayError as error:
        audit.record(request, ACTION, subject, before=before, refused=str(error))
        context["error"] = f"The broker refused: {error}"
        return None
    audit.record(request, ACTION, subject, before=before, after={"records let go": found.waiting})
    messages.success(request, f"The transaction of {name_of(found)} is aborted.")
    return redirect(reverse("transactions") if found.hanging else address_of(found))


def _ending(request: HttpRequest, found: TransactionView | None) -> dict[str, Any]:
    """Whether it can be aborted, and why not."""
    if found is None:
        return {"refusal": "", "may_abort": False}
    refusal = ""
    if not request.user.has_perm(PERMISSION):
        refusal = NOT_ALLOWED
    elif not found.is_open:
        refusal = "Nothing is open: there is nothing to abort."
    elif found.state == "PrepareCommit":
        refusal = "It is decided already: its commit is being written, and nothing can undo that."
    elif found.state in ("PrepareAbort", "PrepareEpochFence"):
        refusal = "It is being aborted already."
    return {"refusal": refusal, "may_abort": not refusal}


def _find(request: HttpRequest, survey: Survey) -> TransactionView | None:
    producer = request.GET.get("producer", "")
    if producer:
        return survey.find_hanging(int(producer)) if producer.isdecimal() and len(producer) < 20 else None
    return survey.find(request.GET.get("id", ""))


def name_of(found: TransactionView) -> str:
    return found.transactional_id or f"producer {found.producer_id}"


def typed_name(found: TransactionView) -> str:
    """What has to be typed: the transactional id, or the producer id of one that hangs."""
    return str(found.producer_id) if found.hanging else found.transactional_id


def address_of(found: TransactionView) -> str:
    query = {"producer": str(found.producer_id)} if found.hanging else {"id": found.transactional_id}
    return f"{reverse('transaction')}?{urlencode(query)}"


def _crumbs(name: str, url: str = "") -> list[Crumb]:
    return [Crumb(title="Transactions", url=reverse("transactions")), Crumb(title=name, url=url)]


def _unread(
    request: HttpRequest, error: GatewayError, template: str, *, title: str, crumbs: Sequence[Crumb] = ()
) -> HttpResponse:
    """When the brokers could not be asked: a poll is told so, a page shows it."""
    if POLL_HEADER in request.headers:
        return HttpResponse(f"{error}\n", status=503, content_type="text/plain")
    return render(request, template, {"trouble": str(error)}, title=title, crumbs=crumbs)


def _part(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    response = render_partial(request, template, context)
    response.headers["Vary"] = POLL_HEADER
    response.headers["Cache-Control"] = "no-store"
    return response
