"""The walk over all partitions, brokers' shares, and the alerts that come of it."""

from __future__ import annotations

from dashboard.collector.replication import LISTED_MAX, skew_percent
from dashboard.live.replication_rows import LinkRow, PartitionRow, ReplicationRow
from dashboard.live.state import CLUSTER, REPLICATION, AlertRow
from tests.dashboard.samples import START_MS, Bench, partition, sample, topic
from tests.dashboard.three import BROKERS, controlled, placed, registered, replicated, says, start


def alerts(bench: Bench) -> dict[str, AlertRow]:
    return {row.name: row for row in bench.store.read([CLUSTER]).rows(CLUSTER).values() if isinstance(row, AlertRow)}


def counts(bench: Bench) -> ReplicationRow:
    row = bench.store.read([REPLICATION]).rows(REPLICATION)["replication"]
    assert isinstance(row, ReplicationRow)
    return row


def test_a_cell_adds_up_what_one_broker_follows_of_another(bench: Bench) -> None:
    start(
        bench,
        placed(number=0, followers=[(2, 90, 0), (3, 100, 0)]),
        placed(number=1, isr=[1, 3], followers=[(2, 40, START_MS - 7000), (3, -1, 0)]),
        topics=(replicated(partitions=2),),
    )
    link = bench.store.read([REPLICATION]).rows(REPLICATION)["link:1:2"]
    assert link == LinkRow(
        leader=1,
        follower=2,
        partitions=2,
        out_of_sync=1,
        lag=70,
        worst="orders-1",
        worst_lag=60,
        behind_since_ms=START_MS - 7000,
    )
    other = bench.store.read([REPLICATION]).rows(REPLICATION)["link:1:3"]
    assert isinstance(other, LinkRow)
    assert (other.lag, other.lag_unknown) == (0, 1)


def test_what_is_worth_a_look_is_bounded_and_the_worst_is_kept(bench: Bench) -> None:
    count = LISTED_MAX + 10
    rows = [placed(number=number, isr=[1, 2]) for number in range(count)]
    rows[-1] = placed(number=count - 1, isr=[1])
    start(bench, *rows, topics=(replicated(partitions=count),))
    found = counts(bench)
    assert (found.partitions, found.worth_a_look, found.listed, found.under_min_isr) == (count, count, LISTED_MAX, 1)
    listed = [
        row for row in bench.store.read([REPLICATION]).rows(REPLICATION).values() if isinstance(row, PartitionRow)
    ]
    assert max(row.partition for row in listed) == count - 1


def test_an_unclean_election_stays_worth_a_look_when_everything_is_in_sync_again(bench: Bench) -> None:
    start(bench, placed(leader_epoch=9, unclean_epoch=7, unclean_at_ms=START_MS - 1000, cause="isr_grown"))
    found = counts(bench)
    assert (found.unclean, found.worth_a_look) == (1, 1)
    row = bench.store.read([REPLICATION]).rows(REPLICATION)["orders:partition:000000"]
    assert isinstance(row, PartitionRow)
    assert (row.unclean_epoch, row.unclean_at_ms, row.condition) == (7, START_MS - 1000, "")


def test_one_that_is_moving_in_is_neither_missing_nor_out_of_sync(bench: Bench) -> None:
    start(bench, placed(replicas=[1, 2, 3], isr=[1, 2], adding=[3], followers=[(2, 100, 0), (3, 0, 0)]))
    found = counts(bench)
    assert (found.under_replicated, found.reassigning) == (0, 1)
    link = bench.store.read([REPLICATION]).rows(REPLICATION)["link:1:3"]
    assert isinstance(link, LinkRow)
    assert (link.joining, link.out_of_sync) == (1, 0)


def test_too_few_in_sync_is_an_alert_that_names_who_is_missing(bench: Bench) -> None:
    start(bench, placed(isr=[1]))
    found = alerts(bench)
    assert "topic-under-replicated:orders" not in found, "one alert for one trouble"
    assert found["topic-under-min-isr:orders"].level == "bad"
    assert "min.insync.replicas=2 are in sync: without brokers 2, 3." in found["topic-under-min-isr:orders"].text
    assert bench.overview.head.sentence == "3 brokers, 1 partition refuses acks=all."


def test_one_copy_is_enough_where_no_more_are_meant_to_be(bench: Bench) -> None:
    start(bench, placed(replicas=[1], isr=[1]), topics=(replicated(),))
    assert (counts(bench).under_min_isr, alerts(bench)) == (0, {})


def test_one_missing_is_a_warning(bench: Bench) -> None:
    start(bench, placed(isr=[1, 3]))
    found = alerts(bench)
    assert found["topic-under-replicated:orders"].text.endswith("than asked for: without broker 2.")


def test_many_topics_that_miss_the_same_broker_are_one_alert(bench: Bench) -> None:
    names = ("a", "b", "c", "d")
    start(bench, *(placed(name, isr=[1, 3]) for name in names), topics=tuple(replicated(name) for name in names))
    [alert] = alerts(bench).values()
    assert alert.title == "4 partitions of 4 topics lack a replica in sync"
    assert (alert.link, alert.text.endswith("without broker 2.")) == ("replication", True)


def test_a_silent_broker_is_told_by_what_the_cluster_makes_of_it(bench: Bench) -> None:
    start(bench)
    bench.model.silent(2, since_ms=START_MS, trouble="refused")
    bench.step()
    assert "The cluster still counts on it" in alerts(bench)["broker-silent:2"].text
    bench.feed(says(1, 2, control=controlled(gone=(2,))))
    bench.step()
    assert "Others lead what it led; nothing acknowledged is lost." in alerts(bench)["broker-silent:2"].text


def test_a_broker_outside_of_the_cluster_or_without_its_data_is_told(bench: Bench) -> None:
    start(bench)
    brokers = [registered(1), registered(3, data_intact=False)]
    bench.feed(says(1, 2, control=controlled(brokers=[*brokers, registered(2, live=False)])))
    bench.step()
    assert alerts(bench)["broker-outside:2"].title == "Broker 2 answers but is not part of the cluster"
    assert "Broker 3 may have lost the end of its logs" in alerts(bench)["broker-data:3"].title


def test_one_that_was_taken_out_is_no_alarm(bench: Bench) -> None:
    start(bench)
    brokers = [registered(1), registered(2), registered(3, live=False, state="decommissioned")]
    bench.model.silent(3, since_ms=START_MS, trouble="refused")
    for broker in (1, 2):
        bench.feed(says(broker, 2, placed(replicas=[1, 2], isr=[1, 2]), control=controlled(brokers=brokers)))
    bench.step()
    assert not [name for name in alerts(bench) if name.startswith("broker")]
    assert bench.overview.head.brokers == 2


def test_one_the_metadata_have_forgotten_was_taken_out(bench: Bench) -> None:
    start(bench)
    bench.model.silent(3, since_ms=START_MS, trouble="refused")
    for broker in (1, 2):
        forgotten = controlled(brokers=[registered(1), registered(2)])
        bench.feed(says(broker, 2, placed(replicas=[1, 2], isr=[1, 2]), control=forgotten))
    bench.step()
    gone = bench.model.brokers[3]
    assert (gone.state, gone.live, gone.left_at_ms > 0) == ("decommissioned", False, True)
    assert not [name for name in alerts(bench) if name.startswith("broker")]
    assert (bench.overview.head.brokers, bench.model.offline) == (2, [])
    bench.feed(says(1, 3, control=controlled()))
    bench.step()
    assert bench.model.brokers[3].state == "", "it came back"


def test_no_controller_is_an_alarm(bench: Bench) -> None:
    start(bench)
    for broker in BROKERS:
        bench.feed(says(broker, 2, controller_id=-1))
    bench.step()
    assert alerts(bench)["no-controller"].level == "bad"


def test_a_single_copy_is_a_hint_and_no_alert(bench: Bench) -> None:
    bench.feed(sample(1, full=True, topics=[topic("orders")], partitions=[partition("orders")]))
    bench.step()
    assert (bench.overview.head.single_copy, counts(bench).single_copy, alerts(bench)) == (1, 1, {})


def test_a_share_is_even_when_no_partition_could_make_it_more_so() -> None:
    assert skew_percent(4, 11, 3) == 0.0
    assert skew_percent(6, 12, 3) == 50.0
    assert skew_percent(0, 12, 3) == -100.0
    assert skew_percent(5, 5, 1) is None
