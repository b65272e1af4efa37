"""What a run's page says first."""

from __future__ import annotations

from typing import Any

import pytest

from broker.models import JobRun
from dashboard.jobs.verdict import run_level, run_verdict

State, Kind = JobRun.State, JobRun.Kind


@pytest.mark.parametrize(
    ("values", "level", "words"),
    [
        ({"state": State.QUEUED}, "idle", "It waits for a worker."),
        ({"state": State.RUNNING}, "idle", "It is running."),
        (
            {"state": State.RUNNING, "progress_done": 2, "progress_total": 7},
            "idle",
            "It is running after 2 of 7 steps.",
        ),
        (
            {"state": State.RUNNING, "kind": Kind.COMPACTION, "progress_done": 40, "progress_total": 100},
            "idle",
            "It is running at 40 %.",
        ),
        ({"state": State.RUNNING, "pause_requested": True}, "idle", "It is paused."),
        ({"state": State.RUNNING, "cancel_requested": True}, "idle", "It is being stopped."),
        ({"state": State.FAILED}, "bad", "It failed; the reason is below."),
        (
            {"state": State.CANCELLED, "progress_done": 1, "progress_total": 3},
            "idle",
            "It was cancelled after 1 of 3 steps.",
        ),
        ({"state": State.SUCCEEDED}, "good", "Nothing was due."),
        (
            {"state": State.SUCCEEDED, "segments_deleted": 1, "bytes_freed": 1024},
            "good",
            "1 segment deleted, 1 KiB freed.",
        ),
        (
            {"state": State.SUCCEEDED, "kind": Kind.COMPACTION, "segments_deleted": 2, "bytes_freed": 2048},
            "good",
            "2 segments replaced, 2 KiB freed.",
        ),
        ({"state": State.SUCCEEDED, "kind": Kind.REBALANCE, "progress_total": 4}, "good", "It is done."),
        ({"state": State.SUCCEEDED, "kind": Kind.DECOMMISSION}, "good", "It is done: there was nothing to do."),
    ],
)
def test_a_run_is_told_in_one_sentence(values: dict[str, Any], level: str, words: str) -> None:
    job = JobRun(**{"kind": Kind.RETENTION, **values})
    assert (run_level(job), run_verdict(job)) == (level, words)
