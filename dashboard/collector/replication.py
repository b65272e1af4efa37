"""One walk over all partitions: who follows whom and how far, what each broker keeps, which partitions are worth a look. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dashboard.live.replication_rows import LinkRow, PartitionRow, ReplicationRow
from dashboard.live.state import Rows

LISTED_MAX = 500
"""Partitions worth a look that are published; the worst first. The rest is counted."""


@dataclass(slots=True)
class _Link:
    """A cell of the matrix while it is added up."""

    partitions: int = 0
    out_of_sync: int = 0
    joining: int = 0
    lag: int = 0
    told: int = 0
    worst: str = ""
    worst_lag: int = -1
    behind_since_ms: int = -1


@dataclass(slots=True)
class BrokerCounts:
    leaders: int = 0
    preferred: int = 0
    replicas: int = 0
    out_of_sync: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What one walk found."""

    head: ReplicationRow = field(default_factory=ReplicationRow)
    links: Mapping[tuple[int, int], LinkRow] = field(default_factory=dict)
    listed: tuple[PartitionRow, ...] = ()
    brokers: Mapping[int, BrokerCounts] = field(default_factory=dict)

    def counts(self, broker: int) -> BrokerCounts:
        return self.brokers.get(broker, BrokerCounts())

    def rows(self) -> Rows:
        rows: Rows = {ReplicationRow.KEY: self.head}
        rows.update((link.key, link) for link in self.links.values())
        rows.update((f"{row.topic}:{row.key}", row) for row in self.listed)
        return rows


def walk(partitions: Iterable[PartitionRow]) -> Walk:
    links: dict[tuple[int, int], _Link] = {}
    brokers: dict[int, BrokerCounts] = {}
    found: Counter[str] = Counter()
    worth: list[PartitionRow] = []
    lags: list[int] = []
    for row in partitions:
        found["partitions"] += 1
        _count_brokers(row, brokers)
        _count_links(row, links)
        lags += [one.lag for one in row.followers if one.lag is not None]
        found["single_copy"] += len(row.settled_replicas) == 1
        conditions = _conditions(row)
        if conditions:
            found.update(conditions)
            worth.append(row)
    worth.sort(key=_worst_first)
    listed = tuple(worth[:LISTED_MAX])
    head = ReplicationRow(**found, lag=sum(lags) if lags else None, listed=len(listed), worth_a_look=len(worth))
    return Walk(
        head=head,
        links={pair: _link_row(pair, link) for pair, link in sorted(links.items())},
        listed=listed,
        brokers=brokers,
    )


def _conditions(row: PartitionRow) -> list[str]:
    """Names of ``ReplicationRow``'s counts that it adds to; empty for what needs no look."""
    holds = {
        "offline": row.offline,
        "under_min_isr": row.under_min_isr,
        "under_replicated": row.under_replicated,
        "at_min_isr": row.at_min_isr,
        "reassigning": row.reassigning,
        "led_elsewhere": row.led_elsewhere and row.preferred_leader in row.isr,
        "unclean": row.had_unclean_election,
    }
    return [name for name, one in holds.items() if one]


def _worst_first(row: PartitionRow) -> tuple[bool, bool, bool, bool, bool, bool, str, int]:
    return (
        not row.offline,
        not row.under_min_isr,
        not row.under_replicated,
        not row.reassigning,
        not row.had_unclean_election,
        not row.led_elsewhere,
        row.topic,
        row.partition,
    )


def _count_brokers(row: PartitionRow, brokers: dict[int, BrokerCounts]) -> None:
    for broker in row.replicas:
        counts = brokers.get(broker)
        if counts is None:
            counts = brokers[broker] = BrokerCounts()
        counts.replicas += 1
        counts.leaders += broker == row.leader
        counts.preferred += broker == row.preferred_leader
        counts.out_of_sync += broker not in row.isr and broker not in row.adding


def _count_links(row: PartitionRow, links: dict[tuple[int, int], _Link]) -> None:
    if row.leader < 0:
        return
    for follower in row.followers:
        pair = (row.leader, follower.broker)
        link = links.get(pair)
        if link is None:
            link = links[pair] = _Link()
        link.partitions += 1
        joining = follower.broker in row.adding and follower.broker not in row.isr
        out = follower.broker not in row.isr and not joining
        link.joining += joining
        link.out_of_sync += out
        if follower.lag is not None:
            link.told += 1
            link.lag += follower.lag
            if follower.lag > link.worst_lag:
                link.worst, link.worst_lag = row.name, follower.lag
        if out and follower.caught_up_ms > 0:
            since = link.behind_since_ms
            link.behind_since_ms = follower.caught_up_ms if since < 0 else min(since, follower.caught_up_ms)


def _link_row(pair: tuple[int, int], link: _Link) -> LinkRow:
    return LinkRow(
        leader=pair[0],
        follower=pair[1],
        partitions=link.partitions,
        out_of_sync=link.out_of_sync,
        joining=link.joining,
        lag=link.lag if link.told else None,
        lag_unknown=link.partitions - link.told,
        worst=link.worst if link.worst_lag > 0 else "",
        worst_lag=link.worst_lag if link.told else None,
        behind_since_ms=link.behind_since_ms,
    )


def skew_percent(own: int, total: int, brokers: int) -> float | None:
    """How far one broker is from an even share: 0 is even, 50 half as much again. ``None`` when there is nothing to share."""
    if total <= 0 or brokers <= 1:
        return None
    if abs(own - total / brokers) < 1:
        return 0.0  # partitions do not come in halves
    return round(own * brokers * 100 / total - 100, 1)
