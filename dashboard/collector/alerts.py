"""What is wrong, as rows, and how the cluster is, as one sentence. Pure.

An alert keeps its name while the trouble lasts; ``AlertBook`` remembers since when. What the cluster cannot know
(workers, overdue jobs) comes in as ready rows from ``dashboard.collector.facts``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dashboard.live.base import Level
from dashboard.live.state import AlertRow, BrokerRow, GroupRow, HeadRow, TopicRow

ALERTS_MAX = 100
HELD_LONG_MS = 60_000
"""Clients' transactions last one minute unless they ask for more: who holds readers back for longer is worth a look."""
NAMES_SHOWN_MAX = 3
LACKING_NAMED_MAX = 3
"""Topics that lack replicas and have an alert each; of more there is one."""
GROUP_TROUBLE = {
    "stalled": "Group {} has stalled",
    "stopped": "Group {} has no readers",
    "falling behind": "Group {} is falling behind",
    "rewound": "Group {} went back",
    "rebalancing": "Group {} does not finish rebalancing",
}


class AlertBook:
    """Remembers when each alert was first seen, so that it can say so."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}

    def book(self, alerts: Iterable[AlertRow], now_ms: int) -> list[AlertRow]:
        """The alerts with the time they began, worst first; those no longer given are forgotten."""
        found = list(alerts)[:ALERTS_MAX]
        self._since = {
            alert.name: alert.since_ms if alert.since_ms >= 0 else self._since.get(alert.name, now_ms)
            for alert in found
        }
        dated = [msgspec.structs.replace(alert, since_ms=self._since[alert.name]) for alert in found]
        return sorted(dated, key=lambda alert: (alert.level != "bad", alert.since_ms, alert.name))


def cluster_alerts(
    brokers: Iterable[BrokerRow], topics: Iterable[TopicRow], groups: Iterable[GroupRow], now_ms: int
) -> Iterable[AlertRow]:
    for broker in brokers:
        yield from _broker_alerts(broker)
    known = list(topics)
    lacking = [topic for topic in known if topic.under_replicated and not topic.under_min_isr]
    if len(lacking) > LACKING_NAMED_MAX:
        yield _many_lacking(lacking)
    elif lacking:
        yield from (_lacking(topic) for topic in lacking)
    for topic in known:
        yield from _topic_alerts(topic, now_ms)
    for group in groups:
        if group.level in ("warn", "bad") and group.verdict in GROUP_TROUBLE:
            yield AlertRow(
                name=f"group:{group.group_id}",
                level="bad" if group.level == "bad" else "warn",
                title=GROUP_TROUBLE[group.verdict].format(group.group_id),
                text=group.verdict_text,
                link=f"group:{group.group_id}",
            )


def _broker_alerts(broker: BrokerRow) -> Iterable[AlertRow]:
    link = f"broker:{broker.id}"
    if broker.state == "decommissioned":
        return
    if not broker.online:
        yield AlertRow(
            name=f"broker-silent:{broker.id}",
            level="bad",
            title=f"Broker {broker.id} {'has left the cluster' if broker.live is False else 'does not answer'}",
            text=_silence(broker),
            since_ms=broker.silent_since_ms,
            link=link,
        )
        return
    if broker.offline_log_dir_reason:
        yield AlertRow(
            name=f"broker-log-dir:{broker.id}",
            level="bad",
            title=f"Broker {broker.id} has taken its log directory offline",
            text=f"{broker.offline_log_dir_reason} Nothing has been deleted. Repair the disk, then restart the broker.",
            link=link,
        )
    elif broker.produce_refused_reason:
        yield AlertRow(
            name=f"broker-refuses:{broker.id}",
            level="bad",
            title=f"Broker {broker.id} refuses new records",
            text=f"{broker.produce_refused_reason} Reading and deleting go on.",
            link=link,
        )


def _silence(broker: BrokerRow) -> str:
    if broker.silent_since_ms < 0:
        return f"It has not answered since the collector started. {broker.trouble}".strip()
    if broker.live:
        what = "The cluster still counts on it: what it leads waits until its session runs out."
    elif broker.live is False and broker.leaders == 0:
        what = "Others lead what it led; nothing acknowledged is lost. What it kept has one copy less."
    else:
        what = "What only it has cannot be read or written while it is away; nothing acknowledged is lost."
    return f"{what} Its numbers are the last it told."


def _topic_alerts(topic: TopicRow, now_ms: int) -> Iterable[AlertRow]:
    if topic.offline:
        yield AlertRow(
            name=f"topic-offline:{topic.name}",
            level="bad",
            title=f"{_partitions(topic.offline)} of {topic.name} {'is' if topic.offline == 1 else 'are'} offline",
            text=f"{topic.offline_reason} Nobody can read or write there; nothing has been deleted.".strip(),
            link=f"topic:{topic.name}",
        )
    if topic.under_min_isr:
        one = topic.under_min_isr == 1
        yield AlertRow(
            name=f"topic-under-min-isr:{topic.name}",
            level="bad",
            title=f"{_partitions(topic.under_min_isr)} of {topic.name} {'refuses' if one else 'refuse'} acks=all",
            text=(
                f"Fewer than min.insync.replicas={topic.min_isr} are in sync{_without(topic)}. "
                "Reading goes on, of what was acknowledged; nothing of that is lost."
            ),
            link=f"topic:{topic.name}",
        )
    if topic.held_since_ms >= 0 and now_ms - topic.held_since_ms >= HELD_LONG_MS and not topic.internal:
        yield AlertRow(
            name=f"topic-held:{topic.name}",
            level="warn",
            title=f"An open transaction holds back readers of {topic.name}",
            text="Who reads committed records gets no further there. Writes go on.",
            since_ms=topic.held_since_ms,
            link="transactions",
        )


def health(head: HeadRow, alerts: Sequence[AlertRow], groups: Iterable[GroupRow]) -> tuple[Level, str]:
    """(level, the one sentence on top of the overview)."""
    if not head.brokers:
        return "unknown", "No broker has been heard yet."
    parts = [_broker_part(head), _partition_part(head), _group_part(groups)]
    parts += [
        f"broker {alert.name.partition(':')[2]} refuses new records"
        for alert in alerts
        if alert.name.startswith("broker-refuses:")
    ]
    shown = {
        "broker-silent",
        "topic-offline",
        "topic-under-min-isr",
        "topic-under-replicated",
        "group",
        "broker-refuses",
    }
    other = [alert for alert in alerts if alert.name.partition(":")[0] not in shown]
    if other:
        parts.append(
            other[0].title[:1].lower() + other[0].title[1:]
            if len(other) == 1
            else f"{len(other)} more things to look at"
        )
    if not head.brokers_online or any(alert.level == "bad" for alert in alerts):
        level: Level = "bad"
    else:
        level = "warn" if alerts else "good"
    sentence = ", ".join(part for part in parts if part)
    return level, f"{sentence[:1].upper()}{sentence[1:]}."


def _broker_part(head: HeadRow) -> str:
    if head.brokers_online == head.brokers:
        return "1 broker" if head.brokers == 1 else f"{head.brokers} brokers"
    if head.brokers == 1:
        return "the broker does not answer"
    missing = head.brokers - head.brokers_online
    return f"{missing} of {head.brokers} brokers {'does' if missing == 1 else 'do'} not answer"


def _partition_part(head: HeadRow) -> str:
    if not head.partitions:
        return "no topics yet" if head.brokers_online else ""
    if head.partitions_offline:
        return f"{_partitions(head.partitions_offline)} offline"
    if head.partitions_under_min_isr:
        one = head.partitions_under_min_isr == 1
        return f"{_partitions(head.partitions_under_min_isr)} {'refuses' if one else 'refuse'} acks=all"
    if head.partitions_under_replicated:
        return f"{_partitions(head.partitions_under_replicated)} not fully in sync"
    if not head.brokers_online:
        return f"{_partitions(head.partitions)} out of reach"
    if head.brokers_online < head.brokers:
        return f"{_partitions(head.partitions)} known"
    return "its partition in sync" if head.partitions == 1 else f"all {head.partitions:,} partitions in sync"


def _group_part(groups: Iterable[GroupRow]) -> str:
    by_verdict: dict[str, list[str]] = {}
    for group in groups:
        if group.level in ("warn", "bad"):
            by_verdict.setdefault(group.verdict, []).append(group.group_id)
    parts = []
    for verdict in ("stalled", "falling behind", "stopped", "rewound", "rebalancing"):
        names = sorted(by_verdict.get(verdict, ()))
        if not names:
            continue
        listed = ", ".join(names[:NAMES_SHOWN_MAX]) + (" and others" if len(names) > NAMES_SHOWN_MAX else "")
        word = "without readers" if verdict == "stopped" else verdict
        parts.append(f"{len(names)} group{'' if len(names) == 1 else 's'} {word}: {listed}")
    return ", ".join(parts)


def _lacking(topic: TopicRow) -> AlertRow:
    verb = "lacks" if topic.under_replicated == 1 else "lack"
    return AlertRow(
        name=f"topic-under-replicated:{topic.name}",
        level="warn",
        title=f"{_partitions(topic.under_replicated)} of {topic.name} {verb} a replica in sync",
        text=f"Reads and writes go on with fewer copies than asked for{_without(topic)}.",
        link=f"topic:{topic.name}",
    )


def _many_lacking(topics: Sequence[TopicRow]) -> AlertRow:
    """A broker that is gone is missed by every topic: that is one thing to look at."""
    missing = sorted({broker for topic in topics for broker in topic.missing})
    return AlertRow(
        name="topic-under-replicated",
        level="warn",
        title=f"{_partitions(sum(topic.under_replicated for topic in topics))} of {len(topics)} topics lack a replica in sync",
        text=f"Reads and writes go on with fewer copies than asked for{_named(missing)}.",
        link="replication",
    )


def _without(topic: TopicRow) -> str:
    return _named(topic.missing)


def _named(missing: Sequence[int]) -> str:
    if not missing:
        return ""
    return f": without broker{'' if len(missing) == 1 else 's'} {', '.join(map(str, missing))}"


def _partitions(count: int) -> str:
    return "1 partition" if count == 1 else f"{count:,} partitions"
