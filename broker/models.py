"""What background work leaves in the database: one row per run.

Owns the schema only; ``broker/jobs/runs.py`` holds every change of state. A row is a record of what happened and
a hand-rail for whoever watches, never the source of truth about the cluster.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.utils import timezone


class JobRun(models.Model):
    """One run of one kind of background work on one broker."""

    class Kind(models.TextChoices):
        RETENTION = "retention", "Retention"
        COMPACTION = "compaction", "Compaction"
        REBALANCE = "broker.rebalance", "Evening out"
        DECOMMISSION = "broker.decommission", "Decommissioning"
        ROLLING_RESTART = "broker.rolling_restart", "Rolling restart"

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting for a worker"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Succeeded"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    class Trigger(models.TextChoices):
        BEAT = "beat", "Schedule"
        PERSON = "person", "A person"
        COMMAND = "command", "Command line"

    IN_TURNS = (Kind.REBALANCE, Kind.DECOMMISSION, Kind.ROLLING_RESTART)
    """Work on the whole cluster, which another worker takes up where the last one let go or died."""
    FINISHED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)

    kind = models.CharField(max_length=32, choices=Kind.choices)
    broker_id = models.IntegerField(null=True, blank=True, help_text="The broker the run is about.")
    topic = models.CharField(max_length=249, blank=True, help_text="Empty means all topics.")
    state = models.CharField(max_length=16, choices=State.choices, default=State.QUEUED)
    trigger = models.CharField(max_length=16, choices=Trigger.choices, default=Trigger.BEAT)
    requested_by = models.CharField(max_length=150, blank=True, help_text="Who asked, when a person did.")
    queued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True, help_text="When its worker last reported progress.")
    progress_done = models.PositiveIntegerField(default=0)
    progress_total = models.PositiveIntegerField(default=0, help_text="0 until the plan is made.")
    segments_deleted = models.PositiveIntegerField(default=0, help_text="Deleted, or replaced by compaction.")
    bytes_freed = models.PositiveBigIntegerField(default=0)
    error = models.TextField(blank=True)
    detail = models.JSONField(default=dict, blank=True)
    cancel_requested = models.BooleanField(default=False)
    pause_requested = models.BooleanField(default=False)

    class Meta:
        ordering = ("-queued_at", "-id")
        verbose_name = "job run"
        indexes = (
            models.Index(fields=("-queued_at", "-id"), name="jobrun_newest"),
            models.Index(fields=("kind", "broker_id", "state", "-finished_at"), name="jobrun_latest"),
        )
        constraints = (
            # Two workers may pick up two runs at once; the database lets one of them run.
            models.UniqueConstraint(
                fields=("kind", "broker_id"),
                condition=models.Q(state="running"),
                name="jobrun_one_running_per_broker",
            ),
            models.UniqueConstraint(
                fields=("kind",),
                condition=models.Q(state="running", broker_id__isnull=True),
                name="jobrun_one_running_of_the_cluster",
            ),
        )

    def __str__(self) -> str:
        where = f" of {self.topic}" if self.topic else ""
        on = "" if self.broker_id is None else f" on broker {self.broker_id}"
        return f"{self.get_kind_display()}{where}{on}: {self.get_state_display().lower()}"

    @property
    def is_finished(self) -> bool:
        return self.state in self.FINISHED

    @property
    def is_in_turns(self) -> bool:
        return self.kind in self.IN_TURNS

    @property
    def can_be_cancelled(self) -> bool:
        return not self.is_finished and not self.cancel_requested

    @property
    def can_be_paused(self) -> bool:
        return self.is_in_turns and self.can_be_cancelled

    @property
    def duration(self) -> timedelta | None:
        """How long it ran, so far if it still does; None before it started."""
        if self.started_at is None:
            return None
        return (self.finished_at or timezone.now()) - self.started_at

    @property
    def waited(self) -> timedelta:
        """Time in the queue, so far if it is still there."""
        return (self.started_at or self.finished_at or timezone.now()) - self.queued_at

    @property
    def is_uneventful(self) -> bool:
        """A scheduled run that found nothing to do: worth a line while fresh, not worth keeping."""
        return self.trigger == self.Trigger.BEAT and self.state == self.State.SUCCEEDED and not self.segments_deleted
