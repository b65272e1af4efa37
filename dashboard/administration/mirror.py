"""``Topic`` rows made equal to the cluster's topics.

Called before a list or a form is shown and by the list's own check every second or two, so what another client
creates or deletes is there at the next look. Nothing but this module writes ``Topic`` rows.
"""

from __future__ import annotations

import hashlib

from django.db import transaction

from broker.client.results import TopicMetadata
from broker.errors import ErrorCode
from dashboard.gateway import gateway
from dashboard.models import Topic

_FIELDS = ("topic_id", "partition_count", "replication_factor", "internal")


def synchronize() -> str:
    """Copy the cluster's topics; returns a revision that differs whenever they do. Raises ``GatewayError``."""
    found = {topic.name: _row(topic) for topic in gateway().topics() if topic.error is ErrorCode.NONE}
    stored = Topic.objects.in_bulk()
    changed = [row for name, row in found.items() if name in stored and _differs(row, stored[name])]
    created = [row for name, row in found.items() if name not in stored]
    gone = [name for name in stored if name not in found]
    if changed or created or gone:
        with transaction.atomic():
            Topic.objects.filter(pk__in=gone).delete()
            Topic.objects.bulk_create(created, ignore_conflicts=True)
            Topic.objects.bulk_update(changed, _FIELDS)
    return _revision(found)


def _row(topic: TopicMetadata) -> Topic:
    return Topic(
        name=topic.name,
        topic_id=topic.topic_id,
        partition_count=len(topic.partitions),
        replication_factor=max((len(partition.replicas) for partition in topic.partitions), default=0),
        internal=topic.internal,
    )


def _differs(one: Topic, other: Topic) -> bool:
    return any(getattr(one, field) != getattr(other, field) for field in _FIELDS)


def _revision(rows: dict[str, Topic]) -> str:
    digest = hashlib.sha256()
    for name in sorted(rows):
        digest.update("\0".join([name, *(str(getattr(rows[name], field)) for field in _FIELDS)]).encode() + b"\n")
    return digest.hexdigest()[:16]
