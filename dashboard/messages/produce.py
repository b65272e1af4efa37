"""The "Produce" tab and what its button does: one record, by hand, with a trace of who did it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from broker.client.results import TopicMetadata
from broker.errors import ErrorCode
from dashboard import audit
from dashboard.gateway import GatewayError, gateway
from dashboard.messages.produce_form import ProduceForm
from dashboard.pages.topics import views as topic_views

PERMISSION = "dashboard.change_topic"
KEPT_FIELDS = ("key_format", "value_format", "partition", "compression")
"""Filled in again after a success; payloads never go into an address."""

_LANDED = re.compile(r"(\d{1,10})-(\d{1,19})")


def produce_tab(request: HttpRequest, name: str) -> dict[str, Any]:
    """Context of the tab. Raises ``GatewayError``."""
    topic = gateway().topic(name)
    kept = {field: request.GET[field] for field in KEPT_FIELDS if field in request.GET}
    return {
        "form": ProduceForm(partitions=_numbers(topic), initial=kept),
        "refusal": refusal(request, topic),
        "landed": _landed(request.GET.get("landed", "")),
    }


@require_POST
@login_required
def produce(request: HttpRequest, name: str) -> HttpResponse:
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied("You may not produce to topics.")
    try:
        topic = gateway().topic(name)
    except GatewayError as error:
        if error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            raise Http404(str(error)) from error
        return _again(request, name, {"form": ProduceForm(request.POST, partitions=[]), "failure": str(error)}, 503)
    form = ProduceForm(request.POST, partitions=_numbers(topic))
    reason = refusal(request, topic)
    if reason:
        audit.record(request, "produce", name, refused=reason)
        return _again(request, name, {"form": form, "refusal": reason}, 403)
    if not form.is_valid():
        return _again(request, name, {"form": form}, 200)
    values = form.cleaned_data
    try:
        landed = gateway().produce(
            name,
            values["key"],
            values["value"],
            values["headers"],
            partition=values["partition"],
            compression=values["compression"],
        )
    except GatewayError as error:
        audit.record(request, "produce", name, after=form.sizes, refused=str(error))
        return _again(request, name, {"form": form, "failure": str(error)}, 503 if error.unreachable else 409)
    audit.record(request, "produce", name, after={**form.sizes, "partition": landed.partition, "offset": landed.offset})
    kept = {field: request.POST.get(field, "") for field in KEPT_FIELDS}
    query = urlencode({"tab": "produce", "landed": f"{landed.partition}-{landed.offset}", **kept})
    return HttpResponseRedirect(f"{reverse('topic', args=[name])}?{query}")


def refusal(request: HttpRequest, topic: TopicMetadata) -> str:
    """Why nothing can be produced here; empty when it can."""
    if topic.internal:
        return "This topic belongs to the cluster: a record written by hand could lose the offsets of consumer groups."
    if not request.user.has_perm(PERMISSION):
        return "Your account may look at topics but not write to them. An administrator can give it “Can change topic”."
    return ""


def _again(request: HttpRequest, name: str, context: dict[str, Any], status: int) -> HttpResponse:
    """The page once more, with what was typed and what is wrong with it."""
    return topic_views.render_topic(request, name, "produce", context, status=status)


def _numbers(topic: TopicMetadata) -> list[int]:
    return sorted(partition.partition for partition in topic.partitions)


def _landed(text: str) -> dict[str, int] | None:
    match = _LANDED.fullmatch(text)
    return {"partition": int(match[1]), "offset": int(match[2])} if match is not None else None
