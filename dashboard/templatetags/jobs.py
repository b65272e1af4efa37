"""Template tags for runs of background work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from broker.models import JobRun
from dashboard.jobs.restart_rows import RestartRow, restart_rows
from dashboard.jobs.verdict import run_level, run_verdict
from dashboard.pages import format as text

register = template.Library()

register.filter("run_level", run_level)
register.filter("run_verdict", run_verdict)

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
    return _level(level, icon, word, job.get_state_display())


@register.simple_tag
def restart_state(row: RestartRow) -> SafeString:
    return _level(row.level, row.icon, row.word, row.says)


@register.simple_tag
def rows_of_restart(job: JobRun) -> list[RestartRow]:
    return restart_rows(job)


@register.simple_tag
def job_duration(job: JobRun) -> SafeString:
    """How long it took; while it runs, a time the page keeps counting."""
    if job.started_at is None:
        return format_html('<span class="ot-muted" title="{}">—</span>', "It has not started")
    return format_html("{}", span(job.duration)) if job.is_finished else _since(job.started_at)


@register.simple_tag
def restart_duration(row: RestartRow) -> SafeString:
    if row.seconds is not None:
        return format_html("{}", text.duration(row.seconds))
    if row.current and row.began_ms > 0:
        return _since(datetime.fromtimestamp(row.began_ms / 1_000, tz=UTC))
    return format_html('<span class="ot-muted">{}</span>', "—")


@register.filter
def span(value: timedelta | None) -> str:
    return "—" if value is None else text.duration(value.total_seconds())


@register.filter
def milliseconds(value: datetime | None) -> int:
    """For the time tags; -1 is none."""
    return -1 if value is None else int(value.timestamp() * 1000)


def _since(begin: datetime) -> SafeString:
    """A time the page keeps counting."""
    return format_html(
        '<time class="ot-time" datetime="{}" data-since="{}">{}</time>',
        begin.isoformat(timespec="milliseconds"),
        milliseconds(begin),
        text.duration((timezone.now() - begin).total_seconds()),
    )


def _level(level: str, icon: str, word: str, title: str) -> SafeString:
    return format_html(
        '<span class="ot-level ot-level--{}" title="{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
        '<span class="ot-level__word">{}</span></span>',
        level,
        title,
        icon,
        word,
    )
