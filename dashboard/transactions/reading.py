"""Asking the cluster and the live store for what a survey joins.

Bounded: a cluster may have many thousands of transactional ids, of which a page describes ``DESCRIBED_MAX``, open ones first,
and looks into the partitions of ``TOPICS_MAX`` topics.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.client.results import ProducerDescription, TransactionDescription
from broker.types import TopicPartition
from dashboard.gateway import GatewayError, gateway
from dashboard.live import rendering
from dashboard.live.state import GROUPS, TOPICS, GroupRow, OffsetRow, TopicRow, group_scope
from dashboard.live.store import Snapshot, StoreError, readable_store
from dashboard.transactions.survey import OPEN_STATES, Ends, Producers, Survey, survey

DESCRIBED_MAX = 1_000
TOPICS_MAX = 50
GROUPS_MAX = 100


def read_survey() -> Survey:
    """Raises ``GatewayError`` when the coordinators cannot be asked."""
    listings = gateway().list_transactions()
    listings.sort(key=lambda one: (one.state not in OPEN_STATES, one.transactional_id))
    described = gateway().describe_transactions(listings[:DESCRIBED_MAX])
    snapshot = _snapshot([TOPICS, GROUPS])
    topics = _topics(described.values(), snapshot)
    producers, ends = _open_in(topics)
    return survey(listings, described, producers, ends, _committed(topics, snapshot), now_ms=rendering.wall_ms())


def _topics(described: Iterable[TransactionDescription], snapshot: Snapshot) -> list[str]:
    """Topics that open transactions have written to, and those where somebody is held back."""
    written = {key.topic for one in described if one.state in OPEN_STATES for key in one.partitions}
    held = {row.name for row in snapshot.rows(TOPICS).values() if isinstance(row, TopicRow) and row.held}
    return sorted(written | held)[:TOPICS_MAX]


def _open_in(topics: Iterable[str]) -> tuple[Producers, dict[TopicPartition, Ends]]:
    """A topic that has gone, or whose leaders do not answer, is left out: the others are still worth seeing."""
    producers: dict[str, list[ProducerDescription]] = {}
    ends: dict[TopicPartition, Ends] = {}
    for topic in topics:
        try:
            found = [one for one in gateway().producers(topic) if one.transaction_start_offset >= 0]
            told = gateway().topic_ends(topic, sorted({one.partition for one in found})) if found else {}
        except GatewayError:
            continue
        producers[topic] = found
        ends |= {
            TopicPartition(topic, partition): Ends(last_stable=stable, high_watermark=high)
            for partition, (stable, high) in told.items()
        }
    return producers, ends


def _committed(topics: Iterable[str], snapshot: Snapshot) -> dict[TopicPartition, dict[str, int]]:
    wanted = set(topics)
    groups = [
        row.group_id for row in snapshot.rows(GROUPS).values() if isinstance(row, GroupRow) and wanted & set(row.topics)
    ][:GROUPS_MAX]
    details = _snapshot([group_scope(group) for group in groups])
    committed: dict[TopicPartition, dict[str, int]] = {}
    for group in groups:
        for row in details.rows(group_scope(group)).values():
            if isinstance(row, OffsetRow) and row.topic in wanted and (row.committed >= 0 or row.owner):
                # Who owns it and has committed nothing has read nothing: it stands where the log starts.
                at = row.committed if row.committed >= 0 else row.log_start_offset
                committed.setdefault(TopicPartition(row.topic, row.partition), {})[group] = at
    return committed


def _snapshot(scopes: list[str]) -> Snapshot:
    """Empty when the store does not answer: which groups wait is then not told."""
    try:
        return readable_store().read(scopes) if scopes else Snapshot()
    except StoreError:
        return Snapshot()
