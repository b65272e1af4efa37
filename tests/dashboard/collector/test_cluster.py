"""Merging brokers' samples into rows."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from broker.telemetry.reduce import SampleGap
from dashboard.live.replication_rows import PartitionRow
from dashboard.live.state import BrokerRow, GroupRow, OffsetRow, TopicRow, group_scope, topic_scope
from tests.dashboard.samples import START_MS, Bench, group, member, offset, partition, sample, topic


def orders(records: int = 100, **values: object) -> dict[str, list]:
    return {"topics": [topic("orders")], "partitions": [partition("orders", records=records, **values)]}


def topic_row(bench: Bench, name: str = "orders") -> TopicRow:
    return bench.model.topics[name]


def group_row(bench: Bench, name: str = "billing") -> GroupRow:
    return bench.model.groups[name].row


def offset_rows(bench: Bench, name: str = "billing") -> Iterable[OffsetRow]:
    return bench.model.groups[name].offsets


def test_a_rate_is_unknown_after_one_sample_and_known_after_two(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(100)))
    bench.step()
    assert topic_row(bench).records_in_rate is None
    bench.feed(sample(2, partitions=[partition("orders", records=150)]))
    bench.step()
    assert topic_row(bench).records_in_rate == 50.0
    assert topic_row(bench).bytes_in_rate == 5000.0


def test_an_idle_partition_is_zero_although_its_broker_no_longer_mentions_it(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(100)))
    bench.feed(sample(2, partitions=[partition("orders", records=150)]))
    for seq in range(3, 10):
        bench.feed(sample(seq))
        bench.step()
    assert topic_row(bench).records_in_rate == 0.0


def test_a_restart_shows_a_gap_and_never_a_negative_rate(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(1000)))
    bench.feed(sample(2, partitions=[partition("orders", records=1100)]))
    bench.step()
    bench.feed(
        sample(
            1,
            at_ms=START_MS + 60_000,
            full=True,
            incarnation="second",
            **orders(1100, records_in_total=0, bytes_in_total=0),
        )
    )
    bench.step()
    assert topic_row(bench).records_in_rate is None
    assert bench.model.brokers[1].bytes_in_rate is None
    bench.feed(
        sample(
            2,
            at_ms=START_MS + 61_000,
            incarnation="second",
            partitions=[partition("orders", records=1110, records_in_total=10, bytes_in_total=1000)],
        )
    )
    bench.step()
    assert topic_row(bench).records_in_rate == 10.0


def test_a_delta_after_a_gap_is_refused(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders()))
    with pytest.raises(SampleGap):
        bench.feed(sample(3))


def test_lag_is_the_high_watermark_minus_the_committed_offset(bench: Bench) -> None:
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders", 2)],
            partitions=[partition("orders", 0, records=100), partition("orders", 1, records=50)],
            groups=[
                group(
                    "billing",
                    members=(member("worker", ("orders", 0), ("orders", 1)),),
                    offsets=(offset("orders", 0, 70, record_timestamp_ms=START_MS - 5000), offset("orders", 1, 50)),
                )
            ],
        )
    )
    bench.step()
    row = group_row(bench)
    assert (row.lag, row.lag_unknown, row.behind_since_ms, row.time_lag_known) == (30, 0, START_MS - 5000, True)
    assert [(entry.lag, entry.owner_client) for entry in offset_rows(bench)] == [(30, "worker"), (0, "worker")]
    assert (topic_row(bench).group_count, topic_row(bench).worst_group, topic_row(bench).worst_lag) == (
        1,
        "billing",
        30,
    )


def test_a_partition_without_a_commit_has_an_unknown_lag_and_not_zero(bench: Bench) -> None:
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders", 2)],
            partitions=[partition("orders", 0, records=100), partition("orders", 1, records=50)],
            groups=[
                group(
                    "billing",
                    members=(member("worker", ("orders", 0), ("orders", 1)),),
                    offsets=(offset("orders", 0, 100),),
                )
            ],
        )
    )
    bench.step()
    assert (group_row(bench).lag, group_row(bench).lag_unknown) == (0, 1)
    assert [entry.lag for entry in offset_rows(bench)] == [0, None]


def test_a_group_without_any_commit_has_no_lag_at_all(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(), groups=[group("billing", members=(member("worker", ("orders", 0)),))]))
    bench.step()
    assert group_row(bench).lag is None
    assert group_row(bench).level == "unknown"


def test_seconds_of_lag_are_unknown_when_the_next_record_has_no_timestamp(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(), groups=[group("billing", offsets=(offset("orders", 0, 10),))]))
    bench.step()
    assert group_row(bench).lag == 90
    assert not group_row(bench).time_lag_known


def test_lag_follows_the_log_although_the_group_itself_did_not_change(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(100), groups=[group("billing", offsets=(offset("orders", 0, 100),))]))
    bench.step()
    bench.feed(sample(2, partitions=[partition("orders", records=160)]))
    bench.step()
    assert group_row(bench).lag == 60
    assert topic_row(bench).worst_lag == 60


def test_offsets_of_a_deleted_topic_have_an_unknown_lag(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(100), groups=[group("billing", offsets=(offset("orders", 0, 50),))]))
    bench.step()
    bench.feed(sample(2, removed_topics=["orders"], removed_partitions=[("orders", 0)]))
    plan = bench.step()
    assert "orders" not in bench.model.topics
    assert topic_scope("orders") in plan.write.gone
    assert group_row(bench).lag is None


def test_a_deleted_group_leaves_the_topics_it_read(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(100), groups=[group("billing", offsets=(offset("orders", 0, 50),))]))
    bench.step()
    bench.feed(sample(2, removed_groups=["billing"]))
    plan = bench.step()
    assert plan.write.gone == [group_scope("billing")]
    assert topic_row(bench).group_count == 0
    assert topic_row(bench).worst_group == ""


def test_a_silent_broker_keeps_its_last_words_and_loses_its_rates(bench: Bench) -> None:
    bench.feed(sample(1, full=True, **orders(100), groups=[group("billing", offsets=(offset("orders", 0, 50),))]))
    bench.feed(sample(2, partitions=[partition("orders", records=150)]))
    bench.step()
    bench.model.silent(1, since_ms=START_MS + 2000, trouble="connection refused")
    bench.step(now_ms=START_MS + 10_000)
    broker: BrokerRow = bench.model.brokers[1]
    assert (broker.online, broker.silent_since_ms, broker.bytes_in_rate) == (False, START_MS + 2000, None)
    assert topic_row(bench).records == 150
    assert topic_row(bench).records_in_rate is None
    assert group_row(bench).verdict == "unknown"
    assert bench.model.offline == [1]


def test_the_leaders_own_words_count(bench: Bench) -> None:
    shared = {"replicas": [1, 2], "isr": [1, 2], "leader": 2, "leader_epoch": 3}
    bench.feed(
        sample(1, full=True, topics=[topic("orders")], partitions=[partition("orders", records=90, **shared)]),
        sample(
            1,
            full=True,
            broker_id=2,
            topics=[topic("orders")],
            partitions=[partition("orders", records=100, **shared)],
        ),
    )
    bench.step()
    row: PartitionRow = bench.model.partitions["orders"][0]
    assert (row.high_watermark, row.source) == (100, 2)


def test_a_newer_leader_epoch_wins_over_what_a_dead_leader_said_last(bench: Bench) -> None:
    shared = {"replicas": [1, 2]}
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders")],
            partitions=[partition("orders", records=100, leader=1, leader_epoch=3, isr=[1, 2], **shared)],
        ),
        sample(
            1,
            full=True,
            broker_id=2,
            topics=[topic("orders")],
            partitions=[partition("orders", records=100, leader=1, leader_epoch=3, isr=[1, 2], **shared)],
        ),
    )
    bench.step()
    bench.model.silent(1, since_ms=START_MS, trouble="gone")
    bench.feed(
        sample(
            2, broker_id=2, partitions=[partition("orders", records=100, leader=2, leader_epoch=4, isr=[2], **shared)]
        )
    )
    bench.step()
    row = bench.model.partitions["orders"][0]
    assert (row.leader, row.isr, row.source) == (2, [2], 2)
    assert topic_row(bench).under_replicated == 1


def test_what_only_a_silent_broker_has_stays_and_is_out_of_reach_while_others_answer(bench: Bench) -> None:
    bench.feed(
        sample(1, full=True, topics=[topic("orders", 2)], partitions=[partition("orders", 0, records=10)]),
        sample(
            1,
            full=True,
            broker_id=2,
            topics=[topic("orders", 2)],
            partitions=[partition("orders", 1, records=20, leader=2, replicas=[2], isr=[2])],
            groups=[group("billing", coordinator=2, offsets=(offset("orders", 1, 5),))],
        ),
    )
    bench.step()
    assert topic_row(bench).records == 30
    bench.model.silent(2, since_ms=START_MS, trouble="gone")
    bench.step()
    assert topic_row(bench).records == 30
    assert topic_row(bench).offline == 1
    assert "Broker 2" in bench.model.partitions["orders"][1].offline_reason
    assert group_row(bench).verdict == "unknown"
    bench.feed(sample(2, broker_id=2, partitions=[partition("orders", 1, records=21, leader=2, replicas=[2], isr=[2])]))
    bench.step()
    assert topic_row(bench).offline == 0
    assert topic_row(bench).records == 31


def test_an_idle_cluster_costs_no_writes_but_the_head(bench: Bench) -> None:
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic(f"t{number}") for number in range(200)],
            partitions=[partition(f"t{number}") for number in range(200)],
        )
    )
    bench.step()
    for seq in range(2, 12):
        bench.feed(sample(seq))
        bench.step()
    bench.feed(sample(12))
    assert set(bench.step().write.scopes) <= {"cluster"}
