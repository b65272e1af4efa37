"""The Clients page, a client's own page, and ending connections. Live by polling the brokers while somebody looks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.shortcuts import render as render_partial
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from broker.errors import ErrorCode
from broker.protocol.api import ApiKey
from dashboard import audit
from dashboard.clients.grouping import ClientRow, Connection, group
from dashboard.clients.reading import CONNECTIONS_MAX, Found, read_connections
from dashboard.gateway import GatewayError, gateway
from dashboard.pages.listing import Column, Listing
from dashboard.pages.shell import Crumb, missing, render

PERMISSION = "dashboard.disconnect_client"
NOT_ALLOWED = "Your account may look at clients but not disconnect them. An administrator can give it that permission."
POLL_HEADER = "X-Ottla-Poll"
LISTENERS = {"client": "Clients", "internal": "Internal", "": "Both"}
COLUMNS: dict[str, Column[ClientRow]] = {
    "client": Column(label="Client id", value=lambda row: row.client_id),
    "library": Column(label="Library", value=lambda row: row.library or None, title="From ApiVersions, version 3 on"),
    "host": Column(label="Host", value=lambda row: row.host, css="ot-wide"),
    "connections": Column(label="Connections", value=lambda row: len(row.connections), numeric=True, css="ot-wide"),
    "since": Column(label="Connected for", value=lambda row: -row.since_ms, numeric=True, css="ot-wide"),
    "idle": Column(
        label="Idle", value=lambda row: row.idle_ms, numeric=True, css="ot-wide", title="Since its last request began"
    ),
    "requests": Column(label="Requests", value=lambda row: row.requests_rate, numeric=True, title="Per second"),
    "in": Column(label="Sends", value=lambda row: row.bytes_in_rate, numeric=True, css="ot-wide"),
    "out": Column(label="Receives", value=lambda row: row.bytes_out_rate, numeric=True, css="ot-wide"),
    "throttled": Column(
        label="Throttled",
        value=lambda row: row.throttled_ms,
        numeric=True,
        title="Time quotas have kept it waiting, in all",
    ),
}


class ClientsListing(Listing[ClientRow]):
    """``?q=&listener=&sort=&page=``; the filter also looks at library and host."""

    def __init__(self, query: QueryDict) -> None:
        super().__init__(
            query,
            COLUMNS,
            default_sort="client",
            name=lambda row: f"{row.client_id} {row.library} {row.host}",
        )
        listener = query.get("listener", "client")
        self.listener = listener if listener in LISTENERS else "client"

    @property
    def chips(self) -> list[tuple[str, str, bool]]:
        return [
            (words, self._url(listener=slug, page=None), slug == self.listener) for slug, words in LISTENERS.items()
        ]


@require_safe
@login_required
def clients(request: HttpRequest) -> HttpResponse:
    listing = ClientsListing(request.GET)
    answer = _read(request, listener=listing.listener)
    if isinstance(answer, HttpResponse):
        return answer
    rows = group(answer.connections)
    listing.arrange(rows)
    context = {
        "listing": listing,
        "found": answer,
        "rows": listing.rows,
        "client_count": len(rows),
        "requests_rate": sum(row.requests_rate for row in rows),
        "libraries": len({row.library for row in rows if row.library}),
        "throttled": [row for row in rows if row.muted],
        "noted": [row for row in rows if row.note],
        "connections_max": CONNECTIONS_MAX,
        "tab": "connections",
    }
    if POLL_HEADER in request.headers:
        return _part(request, "ottla/clients/part.html", context)
    return render(request, "ottla/clients/page.html", context, title="Clients")


@require_safe
@login_required
def client(request: HttpRequest, key: str) -> HttpResponse:
    answer = _read(request)
    if isinstance(answer, HttpResponse):
        return answer
    row = next((row for row in group(answer.connections) if row.key == key), None)
    context: dict[str, Any] = {
        "row": row,
        "may_disconnect": request.user.has_perm(PERMISSION),
        "not_allowed": NOT_ALLOWED,
        "apis": _apis(row) if row is not None else [],
    }
    if POLL_HEADER in request.headers:
        return _part(request, "ottla/clients/one_part.html", context)
    if row is None:
        sentence = "This client has no connection any more."
        return missing(request, sentence, Crumb(title="Clients", url=reverse("clients")))
    title = row.client_id or row.library or row.host
    return render(request, "ottla/clients/one.html", context, title=title, crumbs=_crumbs(title))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def disconnect(request: HttpRequest, key: str) -> HttpResponse:
    """All connections of a client, or the one of ``?broker=&connection=``: GET lists them, POST ends them."""
    answer = _read(request)
    if isinstance(answer, HttpResponse):
        return answer
    row = next((row for row in group(answer.connections) if row.key == key), None)
    chosen = _chosen(request.GET, row)
    if row is None or not chosen:
        raise Http404("There is no such connection any more.")
    title = row.client_id or row.library or row.host
    if request.method == "POST":
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied(NOT_ALLOWED)
        _disconnect(request, title, chosen)
        return redirect("clients")
    refusal = "" if request.user.has_perm(PERMISSION) else NOT_ALLOWED
    context = {"row": row, "chosen": chosen, "refusal": refusal, "title_of_client": title}
    crumbs = [*_crumbs(title, reverse("client", args=[key])), Crumb(title="Disconnect")]
    return render(request, "ottla/clients/disconnect.html", context, title=f"Disconnect {title}", crumbs=crumbs)


def _disconnect(request: HttpRequest, title: str, chosen: list[Connection]) -> None:
    """Each by itself; what a broker refuses is told with its reason."""
    ended: list[str] = []
    refused: list[str] = []
    for one in chosen:
        name = f"{one.entry.peer_host}:{one.entry.peer_port} to broker {one.broker_id}"
        try:
            gateway().disconnect(one.broker_id, one.entry.connection_id)
            ended.append(name)
        except GatewayError as error:
            gone = error.code is ErrorCode.RESOURCE_NOT_FOUND
            (ended if gone else refused).append(name if gone else f"{name}: {error}")
    audit.record(request, "disconnect client", title, after={"ended": ended[:200]}, refused="; ".join(refused)[:2000])
    if ended:
        messages.success(request, f"{len(ended)} connection{'' if len(ended) == 1 else 's'} of {title} ended.")
    for words in refused[:10]:
        messages.error(request, f"Not ended: {words}")


def _chosen(query: QueryDict, row: ClientRow | None) -> list[Connection]:
    if row is None:
        return []
    wanted = (query.get("broker", ""), query.get("connection", ""))
    if not any(wanted):
        return list(row.connections)
    return [one for one in row.connections if (str(one.broker_id), str(one.entry.connection_id)) == wanted]


def _read(request: HttpRequest, *, listener: str = "") -> Found | HttpResponse:
    """What was found, or the page that says why nothing was."""
    try:
        return read_connections(listener=listener)
    except GatewayError as error:
        if POLL_HEADER in request.headers:
            return HttpResponse(f"{error}\n", status=503, content_type="text/plain")
        context = {"trouble": str(error), "tab": "connections"}
        return render(request, "ottla/clients/page.html", context, title="Clients")


def _apis(row: ClientRow) -> list[tuple[str, int]]:
    """(name of the API, version it is spoken in)."""
    names = {int(key): key.name.replace("_", " ").title().replace(" ", "") for key in ApiKey}
    return [(names.get(key, f"API {key}"), version) for key, version in row.api_versions.items()]


def _crumbs(title: str, url: str = "") -> list[Crumb]:
    return [Crumb(title="Clients", url=reverse("clients")), Crumb(title=title, url=url)]


def _part(request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    response = render_partial(request, template, context)
    response.headers["Vary"] = POLL_HEADER
    response.headers["Cache-Control"] = "no-store"
    return response


def one_connection_query(one: Connection) -> str:
    return urlencode({"broker": one.broker_id, "connection": one.entry.connection_id})
