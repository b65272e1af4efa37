"""A run of background work in one sentence. Pure."""

from __future__ import annotations

from broker.models import JobRun
from dashboard.pages.format import count, size


def run_level(job: JobRun) -> str:
    match job.state:
        case JobRun.State.SUCCEEDED:
            return "good"
        case JobRun.State.FAILED:
            return "bad"
        case _:
            return "idle"


def run_verdict(job: JobRun) -> str:
    match job.state:
        case JobRun.State.QUEUED:
            return "It waits for a worker."
        case JobRun.State.FAILED:
            return f"It failed{_so_far(job)}; the reason is below."
        case JobRun.State.CANCELLED:
            return f"It was cancelled{_so_far(job)}."
        case JobRun.State.SUCCEEDED:
            return _done(job)
        case _ if job.cancel_requested:
            return f"It is being stopped{_so_far(job)}."
        case _ if job.pause_requested:
            return f"It is paused{_so_far(job)}."
        case _:
            return f"It is running{_so_far(job)}."


def _so_far(job: JobRun) -> str:
    """Compaction counts in percent, everything else in steps."""
    if not job.progress_total:
        return ""
    if job.kind == JobRun.Kind.COMPACTION:
        return f" at {job.progress_done} %"
    return f" after {count(job.progress_done)} of {count(job.progress_total)} steps"


def _done(job: JobRun) -> str:
    if job.is_in_turns:
        return "It is done." if job.progress_total else "It is done: there was nothing to do."
    if not job.segments_deleted:
        return "Nothing was due."
    segments = f"{count(job.segments_deleted)} segment{'' if job.segments_deleted == 1 else 's'}"
    what = f"{segments} replaced" if job.kind == JobRun.Kind.COMPACTION else f"{segments} deleted"
    return f"{what}, {size(job.bytes_freed)} freed."
