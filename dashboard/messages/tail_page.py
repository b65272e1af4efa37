"""The "Live tail" tab: the form and what the page's script starts from. The records come through ``tail.py``."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse

from dashboard.messages import browser
from dashboard.messages.predicate import FilterError, parse

KEEPS = (50, 100, 250, 500, 1000, 2500)
KEEP_DEFAULT = 250
TAIL_PROTOCOL = 1


def tail_tab(request: HttpRequest, name: str) -> dict[str, Any]:
    """Context of the tab. Raises ``GatewayError``."""
    partitions = browser.partition_numbers(name)
    errors: dict[str, str] = {}
    text = request.GET.get("q", "").strip()
    try:
        parse(text)
    except FilterError as error:
        errors["q"] = str(error)
    partition = request.GET.get("partition", "")
    if partition and partition not in map(str, partitions):
        errors["partition"] = f"This topic has no partition {partition}."
    keep = request.GET.get("keep", "")
    chosen = int(keep) if keep in map(str, KEEPS) else KEEP_DEFAULT
    config = {
        "protocol": TAIL_PROTOCOL,
        "topic": name,
        "partition": int(partition) if partition and not errors else None,
        "filter": text,
        "keep": chosen,
        "messages": reverse("message", args=[name, 0, 0]).removesuffix("0/0/"),
    }
    return {
        "partitions": partitions,
        "partition": partition,
        "filter_text": text,
        "keeps": KEEPS,
        "keep": chosen,
        "errors": errors,
        "tail_config": None if errors else config,
    }
