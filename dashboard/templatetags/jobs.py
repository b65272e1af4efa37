"""Template tags for runs of background work."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from broker.models import JobRun
from dashboard.pages import format as text

register = template.Library()

STATES = {
    JobRun.State.QUEUED: ("idle", "schedule", "waiting"),
    JobRun.State.RUNNING: ("run", "sync", "running"),
    JobRun.State.SUCCEEDED: ("good", "check_circle", "succeeded"),
    JobRun.State.FAILED: ("bad", "error", "failed"),
    JobRun.State.CANCELLED: ("idle", "block", "cancelled"),
}


@register.simple_tag
def job_state(job: JobRun) -> SafeString:
    level, icon, word = STATES[JobRun.State(job.state)]
    if job.cancel_requested and not job.is_finished:
        word = "stopping"
    return format_html(
        '<span class="ot-level ot-level--{}" title="{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
        '<span class="ot-level__word">{}</span></span>',
        level,
        job.get_state_display(),
        icon,
        word,
    )


@register.simple_tag
def job_duration(job: JobRun) -> SafeString:
    """How long it took; while it runs, a time the page keeps counting."""
    if job.started_at is None:
        return format_html('<span class="ot-muted" title="{}">—</span>', "It has not started")
    if not job.is_finished:
        return format_html(
            '<time class="ot-time" datetime="{}" data-since="{}">{}</time>',
            job.started_at.isoformat(timespec="milliseconds"),
            milliseconds(job.started_at),
            text.duration((job.duration or timedelta()).total_seconds()),
        )
    return format_html("{}", span(job.duration))


@register.filter
def span(value: timedelta | None) -> str:
    return "—" if value is None else text.duration(value.total_seconds())


@register.filter
def milliseconds(value: datetime | None) -> int:
    """For the time tags; -1 is none."""
    return -1 if value is None else int(value.timestamp() * 1000)
