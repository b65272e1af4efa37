"""Fragments to markup: the one place that renders a live target, for page loads and pushes alike."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from django.template.loader import get_template

from dashboard.live.view import Fragment, LivePage, View

STALE_MS = 5_000
"""Without a sign of life from the collector for this long, everything is shown as stale."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def render_fragment(fragment: Fragment, view: View) -> str:
    context = {**fragment.context, "target": fragment.target, "view": view, "pulse": view.pulse}
    # Joined, because a template's SafeString is a subclass of str that msgspec will not encode.
    return "".join((get_template(fragment.template).render(context),))


def render_targets(page: LivePage, view: View, targets: Iterable[str]) -> list[tuple[str, str]]:
    """(target, markup) of those that are still on the page."""
    rendered = []
    for target in targets:
        fragment = page.fragment(view, target)
        if fragment is not None:
            rendered.append((target, render_fragment(fragment, view)))
    return rendered


def pulse_message(view: View) -> dict[str, Any]:
    """What the browser needs to say how old things are."""
    pulse = view.pulse
    if pulse is None:
        return {"made_at": 0, "sampled": {}, "offline": [], "now": wall_ms()}
    return {
        "made_at": pulse.made_at_ms,
        "sampled": {str(broker): at_ms for broker, at_ms in pulse.sampled.items()},
        "offline": pulse.offline,
        "now": wall_ms(),
    }


def collector_silent_since(view: View, now_ms: int) -> int | None:
    """Since when nothing has been collected; ``None`` while the data is live, 0 when it never was."""
    if view.pulse is None:
        return 0
    return view.pulse.made_at_ms if now_ms - view.pulse.made_at_ms > STALE_MS else None
