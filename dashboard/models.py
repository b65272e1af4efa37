"""What the dashboard keeps in its own database: a mirror of the topics and the record of who changed what.

Neither is a source of truth. ``Topic`` rows are copied from the cluster and may be deleted at any time; an
``AuditEntry`` is written once and never changed.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Topic(models.Model):
    """One topic of the cluster as last seen; written by ``administration/mirror.py`` alone."""

    name = models.CharField(primary_key=True, max_length=249)
    topic_id = models.CharField("topic id", max_length=22, blank=True, editable=False)
    partition_count = models.PositiveIntegerField("partitions", default=1)
    replication_factor = models.PositiveIntegerField("replication factor", default=1)
    internal = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ("internal", "name")

    def __str__(self) -> str:
        return self.name


class ServiceOperation(models.Model):
    """No table: the permission to stop, start and restart services has to belong to some model."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (("operate_services", "Can stop, start and restart services"),)


class ClusterOperation(models.Model):
    """No table: permissions for changes that reach the cluster and belong to no row here."""

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (
            ("change_consumer_group", "Can reset and delete offsets of consumer groups, and delete groups"),
            ("abort_transaction", "Can abort transactions"),
            ("disconnect_client", "Can disconnect clients"),
            ("change_broker", "Can change configs of brokers"),
            ("move_partitions", "Can move partitions, elect leaders, restart and decommission brokers"),
        )


class AuditEntry(models.Model):
    """One attempt to change something: who, from where, what, before and after."""

    class Outcome(models.TextChoices):
        DONE = "done", "Done"
        REFUSED = "refused", "Refused"

    at = models.DateTimeField("when", auto_now_add=True, db_index=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    actor_name = models.CharField("who", max_length=150)
    """Kept beside ``actor`` so that the record outlives the account."""
    address = models.GenericIPAddressField("from", null=True, blank=True)
    action = models.CharField(max_length=64)
    """A short verb phrase for people: "create topic", "restart service"."""
    subject = models.CharField("what", max_length=255, db_index=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    outcome = models.CharField(max_length=8, choices=Outcome.choices, default=Outcome.DONE)
    message = models.TextField("reason", blank=True)
    """Why it was refused, in the words of whoever refused it."""

    class Meta:
        ordering = ("-at", "-pk")
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"
