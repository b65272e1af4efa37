"""One message, its raw bytes, and the download of a whole selection."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render as django_render
from django.urls import reverse
from django.views.decorators.http import require_safe

from broker.client.results import FetchedRecords, Record
from broker.errors import ErrorCode
from dashboard import audit
from dashboard.gateway import GatewayError, gateway
from dashboard.messages import browser
from dashboard.messages.payload import as_text, read_payload
from dashboard.messages.query import OFFSET_MAX, read_query
from dashboard.messages.reading import EARLIEST, FETCH_BYTES, LATEST
from dashboard.pages import format as words
from dashboard.pages.shell import Crumb, render

NEUTRAL_TYPE = "application/octet-stream"
"""Of every download: no browser shows or runs it."""
INLINE_HEADER = "X-Ottla-Inline"
"""Sent by the list when it opens a record in place: only the record, without the page around it."""


@require_safe
@login_required
def message(request: HttpRequest, name: str, partition: int, offset: int) -> HttpResponse:
    """A record with everything known about it, at an address of its own."""
    context: dict[str, Any] = {"name": name, "partition": partition, "offset": offset}
    status = 200
    try:
        context |= _find(name, partition, offset)
    except GatewayError as error:
        if error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            raise Http404(str(error)) from error
        context["trouble"], status = str(error), 503
    if "record" not in context:
        status = 404 if status == 200 else status
    if INLINE_HEADER in request.headers:
        response = render_inline(request, context, status)
        response.headers["Vary"] = INLINE_HEADER
        return response
    title = f"{name}, partition {partition}, offset {offset}"
    crumbs = [
        Crumb(title="Topics", url=reverse("topics")),
        Crumb(title=name, url=f"{reverse('topic', args=[name])}?tab=messages"),
        Crumb(title=f"partition {partition}, offset {offset}"),
    ]
    return render(request, "ottla/messages/message.html", context, title=title, crumbs=crumbs, status=status)


def render_inline(request: HttpRequest, context: dict[str, Any], status: int) -> HttpResponse:
    template = "ottla/messages/record.html" if "record" in context else "ottla/messages/absent.html"
    return django_render(request, template, {**context, "inline": True}, status=status)


@require_safe
@login_required
def raw(request: HttpRequest, name: str, partition: int, offset: int, part: str) -> HttpResponse:
    """The bytes of the key or value, for saving to a file."""
    try:
        found = _find(name, partition, offset).get("record")
    except GatewayError as error:
        raise Http404(str(error)) from error
    content = getattr(found, part, None) if part in ("key", "value") else None
    if content is None:
        raise Http404("There is nothing to download.")
    return _attachment(content, f"{name}-{partition}-{offset}.{part}")


@require_safe
@login_required
def download(request: HttpRequest, name: str) -> HttpResponse:
    """What the message list shows for the same address, as JSON."""
    query = read_query(request.GET, default_zone=settings.TIME_ZONE)
    try:
        partitions = browser.partition_numbers(name)
        if query.errors or (query.partition is not None and query.partition not in partitions):
            return HttpResponse("The selection cannot be read.\n", status=400, content_type="text/plain")
        found = browser.read(name, query, partitions)
    except GatewayError as error:
        return HttpResponse(f"{error}\n", status=503, content_type="text/plain")
    records = [as_json(record) for record in browser.shown_records(query, found)]
    audit.record(request, "download messages", name, after={"messages": len(records)})
    content = json.dumps(records, ensure_ascii=False, indent=2).encode("utf-8", "surrogatepass")
    return _attachment(content, f"{name}-messages.json")


def as_json(record: Record) -> dict[str, Any]:
    """Text stays text; other bytes are written in base64 under another name, so that nobody mixes them up."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "timestamp": words.moment(record.timestamp_ms).isoformat(timespec="milliseconds"),
        "timestamp_type": record.timestamp_type,
        **_named("key", record.key),
        **_named("value", record.value),
        "headers": [{"name": header, **_named("value", content)} for header, content in record.headers],
        "compression": record.compression,
        "producer_id": record.producer_id,
        "batch_base_offset": record.batch_base_offset,
    }


def _named(name: str, content: bytes | None) -> dict[str, str | None]:
    if content is None:
        return {name: None}
    text = as_text(content)
    if text is not None:
        return {name: text}
    return {f"{name}_base64": b64encode(content).decode("ascii")}


def _find(name: str, partition: int, offset: int) -> dict[str, Any]:
    """The record at that offset, or why there is none. Raises ``GatewayError``."""
    if offset > OFFSET_MAX or partition >= 2**31:
        raise Http404("There is no such offset.")
    start = gateway().list_offsets(name, {partition: EARLIEST})[partition].offset
    end = gateway().list_offsets(name, {partition: LATEST})[partition].offset
    context: dict[str, Any] = {"log_start": start, "log_end": end}
    if not start <= offset < end:
        return context
    fetched = gateway().fetch(name, partition, offset, FETCH_BYTES, 2)
    context |= _neighbours(fetched, offset, start)
    found = fetched.records[0] if fetched.records and fetched.records[0].offset == offset else None
    if found is None:
        return context
    headers = [(header, read_payload(content)) for header, content in found.headers]
    return {
        **context,
        "record": found,
        "key": read_payload(found.key),
        "value": read_payload(found.value),
        "headers": headers,
    }


def _neighbours(fetched: FetchedRecords, offset: int, start: int) -> dict[str, Any]:
    damaged = next((one for one in fetched.damaged if one.base_offset <= offset <= one.last_offset), None)
    following = next((record.offset for record in fetched.records if record.offset > offset), None)
    if following is None and offset < fetched.next_offset < fetched.high_watermark:
        following = fetched.next_offset
    return {"damaged": damaged, "following": following, "preceding": offset - 1 if offset > start else None}


def _attachment(content: bytes, filename: str) -> HttpResponse:
    """Topic names hold nothing that a header or a file name minds (letters, digits, ``.``, ``_``, ``-``)."""
    safe = "".join(character if character.isalnum() or character in "._-" else "_" for character in filename)
    headers = {
        "Content-Disposition": f'attachment; filename="{safe}"',
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return HttpResponse(content, content_type=NEUTRAL_TYPE, headers=headers)
