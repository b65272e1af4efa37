"""The Replication page: what it says in words, and that it never says nothing."""

from __future__ import annotations

import pytest
from django.test import Client

from dashboard.live.state import EVENTS, REPLICATION
from dashboard.live.store import MemoryStore
from tests.dashboard.browsing import read, text
from tests.dashboard.samples import START_MS, Bench, partition, sample, topic
from tests.dashboard.three import BROKERS, controlled, placed, replicated, says, start

pytestmark = pytest.mark.django_db


def test_it_takes_a_login(client: Client) -> None:
    assert client.get("/replication/").headers["Location"].startswith("/login/")


def test_before_the_first_sample_it_says_what_it_waits_for(viewer: Client, live_memory: MemoryStore) -> None:
    body = read(viewer, "/replication/")
    assert "Nothing has been reported yet." in body
    assert "Waiting for the first sample." in body


def test_a_healthy_cluster_says_so_and_shows_who_follows_whom(viewer: Client, at_bench_time: Bench) -> None:
    start(at_bench_time, placed(followers=[(2, 100, START_MS), (3, 100, START_MS)]))
    body = text(read(viewer, "/replication/"))
    assert "Every replica of 1 partition is in sync." in body
    assert "leads 1" in body
    assert body.count("in sync 1 partition") == 2, "a cell for each follower of broker 1"
    assert "Nothing to look at" in body


def test_one_broker_is_told_as_a_single_copy(viewer: Client, at_bench_time: Bench) -> None:
    at_bench_time.feed(sample(1, full=True, topics=[topic("orders")], partitions=[partition("orders")]))
    at_bench_time.step()
    body = text(read(viewer, "/replication/"))
    assert "One broker: every partition has a single copy." in body
    assert "One broker follows nobody" in body


def test_who_is_missing_and_how_far_behind_is_said_in_a_sentence(viewer: Client, at_bench_time: Bench) -> None:
    start(at_bench_time)
    behind = placed(
        partition_epoch=2,
        isr=[1, 2],
        cause="isr_shrunk",
        changed_at_ms=START_MS + 900,
        followers=[(2, 100, START_MS), (3, 58, START_MS - 9_000)],
    )
    for broker in BROKERS:
        at_bench_time.feed(says(broker, 2, behind))
    at_bench_time.step()
    body = text(read(viewer, "/replication/"))
    assert "1 of 1 partitions lacks a replica in sync; reads and writes go on." in body
    assert "Broker 3 (42 records behind) is not in sync. One more loss stops writes with acks=all." in body
    assert "Last change: a follower fell behind." in body
    assert "1 of 1 out of sync" in body


def test_too_few_in_sync_is_told_as_refused_writes(viewer: Client, at_bench_time: Bench) -> None:
    start(at_bench_time, placed(isr=[1], elr=[2], partition_epoch=3))
    body = text(read(viewer, "/replication/"))
    assert "1 partition refuses acks=all: too few replicas are in sync." in body
    assert "Only broker 1 is in sync, but min.insync.replicas is 2" in body


def test_an_unclean_election_is_told_also_when_everything_is_in_sync_again(
    viewer: Client, at_bench_time: Bench
) -> None:
    start(at_bench_time, placed(leader_epoch=9, unclean_epoch=7, unclean_at_ms=START_MS, cause="isr_grown"))
    body = text(read(viewer, "/replication/?show=unclean"))
    assert "Epoch 7 began with a leader that was not known to have everything" in body
    assert "Unclean election:" in body
    assert "unclean election" in text(read(viewer, "/topics/orders/"))


def test_a_move_says_from_where_to_where(viewer: Client, at_bench_time: Bench) -> None:
    moving = placed(replicas=[1, 2, 3], isr=[1, 2], adding=[3], removing=[2], followers=[(2, 100, -1), (3, 25, -1)])
    start(at_bench_time, moving)
    body = text(read(viewer, "/replication/?show=moving"))
    assert "Moving from 1 and 2 to 1 and 3: 75 records to copy." in body
    assert "1 partition is being moved" in body, "one on its way is not under-replicated"


def test_the_filter_and_the_chips_say_so_when_nothing_matches(viewer: Client, at_bench_time: Bench) -> None:
    start(at_bench_time, placed(isr=[1, 2]))
    body = text(read(viewer, "/replication/?q=nothing&show=offline"))
    assert "No partition worth a look matches “nothing” in “Offline”." in body


def test_the_timeline_tells_cause_brokers_and_partitions_once_for_many(viewer: Client, at_bench_time: Bench) -> None:
    start(at_bench_time, placed(number=0), placed(number=1), topics=(replicated(partitions=2),))
    moved = [
        placed(
            number=number,
            leader=2,
            leader_epoch=2,
            partition_epoch=2,
            isr=[2, 3],
            cause="leader_failed",
            changed_at_ms=START_MS + 2000,
        )
        for number in (0, 1)
    ]
    at_bench_time.feed(says(2, 2, *moved, control=controlled(epoch=2, by=2, gone=(1,)), controller_id=2))
    at_bench_time.step()
    body = read(viewer, "/replication/?range=15m")
    said = text(body)
    assert "The leader failed" in said
    assert "orders 0–1" in said
    assert "The one before failed epoch 2" in said
    assert "Broker left" in said
    kinds = [row.kind for row in at_bench_time.store.read([EVENTS]).rows(EVENTS).values()]
    assert sorted(kinds) == ["broker", "controller", "controller", "isr", "leader"]
    assert body.count('class="ot-lanes__mark ') == 5


def test_the_timeline_of_one_topic_is_that_topics(viewer: Client, at_bench_time: Bench) -> None:
    start(at_bench_time)
    at_bench_time.feed(says(2, 2, placed(leader=2, leader_epoch=2, partition_epoch=2, cause="preferred")))
    at_bench_time.step()
    assert "The preferred leader took over" in text(read(viewer, "/replication/?q=orders"))
    assert "No change of “payments” is remembered." in text(read(viewer, "/replication/?q=payments"))


def test_a_cluster_that_tells_nothing_of_causes_shows_unknown_and_no_code(viewer: Client, at_bench_time: Bench) -> None:
    """Telemetry without the newer fields: what another make or an older version tells."""
    for broker in BROKERS:
        plain = partition("orders", replicas=[1, 2, 3], isr=[1, 2], records=5)
        at_bench_time.feed(
            sample(1, full=True, broker_id=broker, topics=[topic("orders", replication_factor=3)], partitions=[plain])
        )
    at_bench_time.step()
    body = text(read(viewer, "/replication/"))
    assert "Broker 3 is not in sync." in body
    assert "its leader has not told how far its followers are" in body
    assert REPLICATION in at_bench_time.store.read([REPLICATION]).scopes
