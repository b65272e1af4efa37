"""The "Producers" tab of a topic: who the partitions' leaders remember, and what is open there. Live by polling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as render_partial
from django.urls import reverse
from django.views.decorators.http import require_safe

from broker.client.results import ProducerDescription
from dashboard.gateway import GatewayError, gateway
from dashboard.pages.listing import Column, Listing
from dashboard.pages.topics.tabs import Tab, register_tab

COLUMNS: Mapping[str, Column[ProducerDescription]] = {
    "id": Column(label="Producer id", value=lambda row: row.producer_id),
    "partition": Column(label="Partition", value=lambda row: row.partition),
    "epoch": Column(
        label="Epoch",
        value=lambda row: row.producer_epoch,
        numeric=True,
        css="ot-wide",
        title="Raised whenever the producer starts anew, and with every transaction: older ones are refused",
    ),
    "sequence": Column(
        label="Last sequence",
        value=lambda row: row.last_sequence if row.last_sequence >= 0 else None,
        numeric=True,
        css="ot-wide",
        title="Sequence number of its last record here: a repeated one is recognised by it",
    ),
    "last": Column(
        label="Last write",
        value=lambda row: row.last_timestamp_ms if row.last_timestamp_ms >= 0 else None,
        numeric=True,
        title="By the broker's clock",
    ),
    "transaction": Column(
        label="Transaction",
        value=lambda row: row.transaction_start_offset if row.transaction_start_offset >= 0 else None,
        title="Where its open transaction begins in this partition",
    ),
    "coordinator": Column(
        label="Coordinator epoch",
        value=lambda row: row.coordinator_epoch if row.coordinator_epoch >= 0 else None,
        numeric=True,
        css="ot-wide",
        title="Of the coordinator that wrote its last marker",
    ),
}


def producers_tab(request: HttpRequest, name: str) -> dict[str, Any]:
    """Context of the tab. Raises ``GatewayError``."""
    query = request.GET.copy()
    query["tab"] = "producers"
    listing: Listing[ProducerDescription] = Listing(
        query, COLUMNS, default_sort="last", name=lambda row: f"{row.producer_id} {row.partition}"
    )
    found = gateway().producers(name)
    listing.arrange(found)
    return {
        "listing": listing,
        "producers": listing.rows,
        "known": len({one.producer_id for one in found}),
        "opened": sum(one.transaction_start_offset >= 0 for one in found),
        "filter_extra": {"tab": "producers"},
        "part_url": f"{reverse('topic-producers', args=[name])}?{query.urlencode()}",
    }


@require_safe
@login_required
def part(request: HttpRequest, name: str) -> HttpResponse:
    try:
        context = producers_tab(request, name)
    except GatewayError as error:
        return HttpResponse(f"{error}\n", status=503, content_type="text/plain", headers={"Cache-Control": "no-store"})
    response = render_partial(request, "ottla/topic/producers_part.html", {"name": name, **context})
    response.headers["Cache-Control"] = "no-store"
    return response


def register() -> None:
    """Called once the apps are ready."""
    register_tab(
        Tab(slug="producers", label="Producers", template="ottla/topic/producers.html", fetch=producers_tab, order=50)
    )
