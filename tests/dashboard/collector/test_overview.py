"""Alerts, and the one sentence on top."""

from __future__ import annotations

from broker.jobs.health import JobsHealth, WorkFact
from dashboard.collector.facts import jobs_alerts
from dashboard.live.state import AlertRow, HeadRow
from tests.dashboard.samples import START_MS, Bench, group, member, offset, partition, sample, topic


def head(bench: Bench) -> HeadRow:
    return bench.overview.head


def alerts(bench: Bench) -> dict[str, AlertRow]:
    rows = bench.store.read(["cluster"]).rows("cluster")
    return {row.name: row for row in rows.values() if isinstance(row, AlertRow)}


def test_a_healthy_cluster_says_so(bench: Bench) -> None:
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders", 2)],
            partitions=[partition("orders", 0, records=1), partition("orders", 1)],
            groups=[group("billing", members=(member("a", ("orders", 0)),), offsets=(offset("orders", 0, 1),))],
        )
    )
    bench.step()
    assert (head(bench).level, head(bench).sentence) == ("good", "1 broker, all 2 partitions in sync.")
    assert alerts(bench) == {}


def test_a_new_cluster_has_no_topics_yet(bench: Bench) -> None:
    bench.feed(sample(1, full=True))
    bench.step()
    assert head(bench).sentence == "1 broker, no topics yet."


def test_the_broker_that_does_not_answer_is_named_with_the_time(bench: Bench) -> None:
    bench.feed(sample(1, full=True, topics=[topic("orders")], partitions=[partition("orders")]))
    bench.step()
    bench.model.silent(1, since_ms=START_MS + 1000, trouble="refused")
    bench.step(now_ms=START_MS + 9000)
    assert (head(bench).level, head(bench).sentence) == ("bad", "The broker does not answer, 1 partition out of reach.")
    assert alerts(bench)["broker-silent:1"].since_ms == START_MS + 1000


def test_one_of_three_brokers_missing_is_counted(bench: Bench) -> None:
    for broker_id in (1, 2, 3):
        bench.feed(sample(1, full=True, broker_id=broker_id))
    bench.model.silent(2, since_ms=START_MS, trouble="")
    bench.step()
    assert head(bench).sentence.startswith("1 of 3 brokers does not answer")


def test_an_offline_partition_and_a_full_disk_are_told(bench: Bench) -> None:
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders")],
            partitions=[partition("orders", leader=-1, isr=[], offline_reason="damaged below the recovery point")],
            broker={"produce_refused_reason": "Only 12 MiB of disk are left."},
        )
    )
    bench.step()
    found = alerts(bench)
    assert set(found) == {"topic-offline:orders", "broker-refuses:1"}
    assert "damaged below the recovery point" in found["topic-offline:orders"].text
    assert "Only 12 MiB of disk are left. Reading and deleting go on." in found["broker-refuses:1"].text
    assert head(bench).sentence == "1 broker, 1 partition offline, broker 1 refuses new records."


def test_an_alert_keeps_the_time_it_began_while_it_lasts(bench: Bench) -> None:
    trouble = {"partitions": [partition("orders", replicas=[1, 2])]}
    bench.feed(sample(1, full=True, topics=[topic("orders")], **trouble))
    bench.step()
    began = alerts(bench)["topic-under-replicated:orders"].since_ms
    bench.feed(sample(2))
    bench.step()
    assert alerts(bench)["topic-under-replicated:orders"].since_ms == began
    bench.feed(sample(3, partitions=[partition("orders")]))
    bench.step()
    assert alerts(bench) == {}
    bench.feed(sample(4, **trouble))
    bench.step()
    assert alerts(bench)["topic-under-replicated:orders"].since_ms > began


def test_what_the_cluster_cannot_know_comes_with_the_facts(bench: Bench) -> None:
    bench.facts = [AlertRow(name="worker-missing", title="No worker seen", text="None has ever reported.")]
    bench.feed(sample(1, full=True))
    bench.step()
    assert head(bench).sentence == "1 broker, no topics yet, no worker seen."
    assert head(bench).level == "warn"


def test_highlights_hold_still_while_numbers_move(bench: Bench) -> None:
    names = [f"t{number}" for number in range(10)]
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic(name) for name in names],
            partitions=[partition(name, records=number) for number, name in enumerate(names)],
        )
    )
    bench.step()
    chosen = head(bench).top_topics
    bench.feed(sample(2, partitions=[partition("t0", records=10_000)]))
    bench.step()
    assert head(bench).top_topics == chosen
    bench.feed(sample(3, at_ms=START_MS + 60_000))
    bench.step()
    assert "t0" in head(bench).top_topics


def test_a_missing_worker_and_overdue_retention_become_alerts() -> None:
    facts = JobsHealth(
        worker_seen_seconds_ago=130.0,
        worker_missing=True,
        queue_error="",
        retention=(
            WorkFact(broker_id=1, succeeded_seconds_ago=4000.0, error="The broker refused.", overdue=True),
            WorkFact(broker_id=2, succeeded_seconds_ago=3.0, error="", overdue=False),
        ),
    )
    found = {alert.name: alert.text for alert in jobs_alerts(facts)}
    assert found == {
        "worker-missing": "The last sign of life came 2 minutes ago. Nothing deletes old records until one is back.",
        "retention-overdue:1": "It last succeeded an hour ago. The broker refused.",
    }
