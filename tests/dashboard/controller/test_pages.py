"""The Controller page."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.dashboard.browsing import read, text
from tests.dashboard.samples import START_MS, Bench, sample
from tests.dashboard.three import BROKERS, controlled, placed, registered, says, start

pytestmark = pytest.mark.django_db


def test_it_says_who_decides_since_when_and_why(viewer: Client, at_bench_time: Bench) -> None:
    start(at_bench_time)
    at_bench_time.feed(says(2, 2, control=controlled(epoch=2, by=2, gone=(1,)), controller_id=2))
    at_bench_time.step()
    body = text(read(viewer, "/controller/"))
    assert "Broker 2 decides since" in body
    assert "last elected because the one before failed" in body
    assert "Nothing is under way" in body
    assert "the embedded store (SQLite)" in body
    assert "life-2" in body
    assert body.count("There was none before") == 1


def test_what_is_under_way_is_named(viewer: Client, at_bench_time: Bench) -> None:
    moving = placed(replicas=[1, 2, 3], isr=[1, 2], adding=[3], removing=[2])
    start(at_bench_time, moving)
    brokers = [registered(1), registered(2, state="draining"), registered(3)]
    at_bench_time.feed(says(1, 2, control=controlled(brokers=brokers)))
    at_bench_time.step()
    body = text(read(viewer, "/controller/"))
    assert "it is moving 1 partition; it is draining broker 2." in body
    assert "Broker 2 gets no new replicas and hands over what it leads." in body
    assert "Moving from 1 and 2 to 1 and 3: copying." in body


def test_no_controller_and_a_store_that_does_not_answer_are_alarms(viewer: Client, at_bench_time: Bench) -> None:
    start(at_bench_time)
    for broker in BROKERS:
        at_bench_time.feed(
            says(
                broker,
                2,
                controller_id=-1,
                trouble={"store_trouble": "disk I/O error", "store_trouble_since_ms": START_MS},
            )
        )
    at_bench_time.step()
    body = text(read(viewer, "/controller/"))
    assert "The metadata store does not answer: leaders go on serving, changes of the cluster wait." in body
    overview = text(read(viewer, "/"))
    assert "No broker is controller" in overview
    assert "Broker 1 cannot use the metadata store" in overview


def test_a_cluster_that_tells_less_shows_less(viewer: Client, at_bench_time: Bench) -> None:
    at_bench_time.feed(sample(1, full=True))
    at_bench_time.step()
    body = text(read(viewer, "/controller/"))
    assert "Broker 1 decides." in body
    assert "The cluster does not tell of earlier elections." in body
    assert "the cluster does not tell of sessions" in body
