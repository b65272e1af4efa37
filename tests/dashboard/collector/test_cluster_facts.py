"""When a throttled client or a hanging transaction is an alert."""

from __future__ import annotations

import pytest

from broker.types import TopicPartition
from dashboard.clients.reading import Found
from dashboard.collector import cluster_facts
from dashboard.collector.cluster_facts import ClusterFacts, hanging_alerts, throttled_alerts
from dashboard.gateway import GatewayError
from dashboard.live.store import MemoryStore
from dashboard.transactions.survey import Held, TransactionView
from tests.dashboard.clients.test_grouping import connection


def names(before: dict[str, int], now: dict[str, int], elapsed_ms: float = 5_000) -> list[str]:
    return [alert.name for alert in throttled_alerts(before, now, elapsed_ms)]


def test_a_client_is_throttled_when_quotas_took_a_tenth_of_its_time() -> None:
    assert names({"shop": 1_000}, {"shop": 1_500}) == ["client-throttled:shop"]
    assert names({"shop": 1_000}, {"shop": 1_499}) == []


def test_what_a_client_was_throttled_before_does_not_count() -> None:
    assert names({}, {"shop": 90_000}) == []
    assert names({"shop": 90_000}, {"shop": 90_000}) == []
    assert names({"shop": 90_000}, {"shop": 10}) == [], "it has connected anew"


def test_the_looks_are_compared_with_each_other(monkeypatch: pytest.MonkeyPatch, live_memory: MemoryStore) -> None:
    waited = iter([1_000, 1_000, 8_000, 8_000, 0, 0])

    def read(*, listener: str) -> Found:
        return Found(connections=[connection(1, "shop", throttled_ms=next(waited))])

    monkeypatch.setattr(cluster_facts, "read_connections", read)
    clock = iter([100.0, 105.0, 110.0, 150.0, 160.0, 300.0])
    monkeypatch.setattr(cluster_facts.time, "monotonic", lambda: next(clock))
    facts = ClusterFacts()
    throttled = ["shop is being throttled"]
    looks = [[alert.title for alert in facts.gather()] for _ in range(6)]
    assert looks == [[], [], throttled, throttled, throttled, []], "it lasts for the minute and not for one look alone"


def test_brokers_that_do_not_answer_tell_nothing(monkeypatch: pytest.MonkeyPatch, live_memory: MemoryStore) -> None:
    def refuse(*, listener: str) -> Found:
        raise GatewayError("The broker did not answer in time.")

    monkeypatch.setattr(cluster_facts, "read_connections", refuse)
    assert ClusterFacts().gather() == []


def hanging(producer_id: int, *partitions: int, start_ms: int = 5) -> TransactionView:
    return TransactionView(
        transactional_id="",
        producer_id=producer_id,
        producer_epoch=0,
        coordinator=-1,
        state="",
        start_ms=start_ms,
        timeout_ms=-1,
        held=[
            Held(topic_partition=TopicPartition("orders", number), first_offset=0, ends=None) for number in partitions
        ],
        hanging=True,
    )


def test_hanging_transactions_are_one_alert_that_names_where_readers_wait() -> None:
    assert hanging_alerts([]) == []
    (alert,) = hanging_alerts([hanging(7, 0, 1, start_ms=9), hanging(8, 2, 3)])
    assert (alert.level, alert.title, alert.since_ms, alert.link) == ("bad", "2 transactions hang", 5, "transactions")
    assert "orders-0, orders-1, orders-2 and others" in alert.text
    (alert,) = hanging_alerts([hanging(7, 0)])
    assert alert.title == "A transaction hangs"
    assert alert.text == "Nobody will end it: readers of committed records wait at orders-0."
