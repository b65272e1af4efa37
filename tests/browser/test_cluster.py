"""Three real brokers in a real Chromium: what a person sees when one of them fails, and how partitions are moved."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from playwright.sync_api import Page, expect

from tests.browser.chromium import Browser, collect_errors, signed_in
from tests.support.installation import Installation
from tests.support.wait import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SOON_MS = 30_000
"""A session timeout, an election, a sample and a frame on a slow machine."""
SHOWN_SECONDS_MAX = 2.0
SLOW_FACTOR = 3.0
"""Between the election and the picture lie four processes: on a machine that is busy with other things each waits its turn."""
TOPIC = "failover"
PARTITIONS = 6
RECORD_LEADERS = """() => {
  window.leaders = [];
  const note = () => {
    const shown = [...document.querySelectorAll("#partitions-body tr")].map(
      (row) => [...row.querySelectorAll("[data-label='Leader'] .ot-broker")].map((one) => one.textContent.trim()).join("+"));
    const last = window.leaders.at(-1);
    if (shown.length && (!last || last.shown.join() !== shown.join())) window.leaders.push({ at: Date.now(), shown });
  };
  note();
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    quick = {"OTTLA_BROKER_SESSION_TIMEOUT_MS": "4000", "OTTLA_BROKER_HEARTBEAT_INTERVAL_MS": "500"}
    home = tmp_path_factory.mktemp("three") / "home"
    with Installation(home, OTTLA_BROKERS="3", **quick) as running:
        yield running


@pytest.fixture
def page(browser: Browser, cluster: Installation) -> Iterator[Page]:
    with signed_in(browser, cluster.url) as opened:
        yield opened


def create(cluster: Installation, name: str, partitions: int, copies: int) -> None:
    admin = admin_of(cluster.bootstrap)
    config = {"min.insync.replicas": "2"} if copies > 2 else {}
    admin.create_topics([NewTopic(name, partitions, copies, config=config)])[name].result(20)


def produce(cluster: Installation, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
    for number in range(count):
        producer.produce(topic, f"record {number}".encode(), partition=number % PARTITIONS)
    assert producer.flush(30) == 0


@cache
def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


def partitions_of(cluster: Installation, topic: str) -> dict[int, Any]:
    return dict(admin_of(cluster.bootstrap).list_topics(topic, timeout=10).topics[topic].partitions)


def test_a_failed_leader_is_replaced_on_the_page_in_time_and_never_doubled(page: Page, cluster: Installation) -> None:
    create(cluster, TOPIC, PARTITIONS, 3)
    produce(cluster, TOPIC, 600)
    page.goto(f"/topics/{TOPIC}/")
    expect(page.locator("#topic-verdict")).to_contain_text(
        f"All {PARTITIONS} partitions in sync, 3 copies", timeout=SOON_MS
    )
    errors = collect_errors(page)
    page.evaluate(RECORD_LEADERS)
    led = {number: one.leader for number, one in partitions_of(cluster, TOPIC).items()}
    failing = led[0]
    pid = cluster.service_pid(f"broker-{failing}")
    os.kill(pid, signal.SIGSTOP)
    try:
        own = [number for number, leader in led.items() if leader == failing]
        elected_ms = wait_elected(cluster, failing, own)
        for number in own:
            leader = page.locator(f"#partition-{number} [data-label='Leader'] .ot-broker")
            expect(leader).not_to_have_text(str(failing), timeout=SOON_MS)
        seen = page.evaluate("window.leaders")
        expect(page.locator("#topic-verdict")).to_contain_text(f"on broker {failing}", timeout=SOON_MS)
    finally:
        os.kill(pid, signal.SIGCONT)
    late_ms = seen[-1]["at"] - elected_ms
    assert late_ms <= SHOWN_SECONDS_MAX * SLOW_FACTOR * 1000, f"shown {late_ms} ms after the election"
    for moment in seen:
        assert len(moment["shown"]) == PARTITIONS
        assert all("+" not in shown for shown in moment["shown"]), "two leaders at once"
    for number in own:
        shown = [moment["shown"][number] for moment in seen]
        assert str(failing) not in shown[shown.index(next(one for one in shown if one != str(failing))) :], (
            "it never goes back"
        )
    assert errors == []
    expect(page.locator("#topic-verdict")).to_contain_text(f"All {PARTITIONS} partitions in sync", timeout=SOON_MS)
    page.goto(f"/replication/?q={TOPIC}")
    expect(page.locator("#replication-events")).to_contain_text("The leader failed", timeout=SOON_MS)
    expect(page.locator("#replication-events")).to_contain_text("Out of sync")
    page.goto("/controller/")
    expect(page.locator("#controller-verdict")).to_contain_text("decides since", timeout=SOON_MS)
    expect(page.locator("#controller-elections tbody tr")).not_to_have_count(0)


def wait_elected(cluster: Installation, failing: int, partitions: list[int]) -> int:
    """Wall clock, in ms, at which the last of these was given another leader."""
    others = ",".join(cluster.bootstrap_of(number) for number in (1, 2, 3) if number != failing)
    admin = admin_of(others)

    def all_elected() -> bool:
        found = admin.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        return all(found[number].leader not in (failing, -1) for number in partitions)

    wait_until(all_elected, "every partition has another leader", seconds=SOON_MS / 1000)
    return time.time_ns() // 1_000_000


def test_a_partition_is_moved_as_planned(page: Page, cluster: Installation) -> None:
    create(cluster, "moving", 1, 2)
    before = partitions_of(cluster, "moving")[0]
    free = next(one for one in (1, 2, 3) if one not in before.replicas)
    page.goto("/replication/reassign/")
    page.get_by_role("checkbox", name="moving").check()
    page.get_by_label("To exactly these brokers").check()
    page.locator("#move-replicas").fill(f"{free}, {before.replicas[0]}")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.locator(".ot-verdict").first).to_contain_text("1 of 1 partition moves")
    page.get_by_role("button", name="Move the partitions").click()
    expect(page.locator("body")).to_contain_text("1 partition began to move.")

    def moved() -> bool:
        return list(partitions_of(cluster, "moving")[0].replicas) == [free, before.replicas[0]]

    wait_until(moved, "the partition is where the plan said", seconds=60)
    expect(page.locator("#moves-part")).to_contain_text("Nothing is being moved.", timeout=SOON_MS)
    page.goto("/replication/?q=moving")
    expect(page.locator("#replication-events")).to_contain_text("A move was completed", timeout=SOON_MS)


def test_preferred_leaders_are_elected_from_the_page(page: Page, cluster: Installation) -> None:
    """A partition whose replicas were put into another order is led by the one that was first before."""
    create(cluster, "elected", 1, 3)
    first, *others = partitions_of(cluster, "elected")[0].replicas
    order = [*others, first]
    page.goto(f"/replication/reassign/?topic=elected&to=exactly&replicas={','.join(map(str, order))}")
    page.get_by_role("button", name="Move the partitions").click()
    wait_until(
        lambda: list(partitions_of(cluster, "elected")[0].replicas) == order, "the order is the new one", seconds=30
    )
    page.goto("/replication/elect-leaders/?topic=elected")
    page.get_by_role("button", name="Elect the preferred leaders").click()
    expect(page.locator("body")).to_contain_text("1 partition led by the preferred replica again.")
    wait_until(lambda: partitions_of(cluster, "elected")[0].leader == order[0], "its first replica leads", seconds=30)
