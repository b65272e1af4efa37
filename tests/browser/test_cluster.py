"""Three real brokers in a real Chromium: what a person sees when one of them fails, and how partitions are moved."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from playwright.sync_api import Page, expect

from tests.browser.chromium import Browser, collect_errors, signed_in
from tests.browser.elections import Elections, assert_followed, record, shown_in
from tests.support.installation import Installation
from tests.support.wait import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SOON_MS = 30_000
"""A session timeout, an election, a sample and a frame on a slow machine."""
TOPIC = "failover"
PARTITIONS = 6
LEADERS = "#partitions-body [data-label='Leader']"
CONTROLLER = "#controller-tiles .ot-tile:first-child .ot-tile__value"


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


def test_a_killed_leader_and_controller_is_replaced_on_the_pages_in_time_and_never_doubled(
    page: Page, cluster: Installation
) -> None:
    """Times are the brokers' and the browser's own. Who is dead may be back before the page is looked at."""
    create(cluster, TOPIC, PARTITIONS, 3)
    produce(cluster, TOPIC, 600)
    page.goto(f"/topics/{TOPIC}/")
    expect(page.locator("#topic-verdict")).to_contain_text(
        f"All {PARTITIONS} partitions in sync, 3 copies", timeout=SOON_MS
    )
    errors = collect_errors(page)
    controlling = page.context.new_page()
    controlling.goto("/controller/")
    failing = admin_of(cluster.bootstrap).list_topics(timeout=10).controller_id
    expect(controlling.locator(CONTROLLER)).to_have_text(str(failing), timeout=SOON_MS)
    own = [number for number, one in partitions_of(cluster, TOPIC).items() if one.leader == failing]
    assert own, "leaders are spread over all brokers"
    stays = next(number for number in (1, 2, 3) if number != failing)
    with Elections(cluster.internal_of(stays), cluster.secret, TOPIC) as elections:
        wait_until(lambda: elections.leader(own[0]) == failing and elections.controller() == failing, "it is told")
        record(page, LEADERS)
        record(controlling, CONTROLLER)
        cluster.kill_service(f"broker-{failing}")
        wait_until(
            lambda: elections.controller() != failing and all(elections.leader(one) != failing for one in own),
            "others are elected",
            seconds=SOON_MS / 1000,
        )
        for number in own:
            leader = page.locator(f"#partition-{number} [data-label='Leader'] .ot-broker")
            expect(leader).to_have_text(str(elections.leader(number)), timeout=SOON_MS)
        expect(controlling.locator(CONTROLLER)).to_have_text(str(elections.controller()), timeout=SOON_MS)
        expect(page.locator("#topic-verdict")).to_contain_text(f"All {PARTITIONS} partitions in sync", timeout=SOON_MS)
    for number in range(PARTITIONS):
        elected = [elections.leaders[number][epoch] for epoch in sorted(elections.leaders[number])]
        seen = shown_in(page, number)
        if number in own:
            assert_followed(seen, elected)
        else:
            assert {one.broker for one in seen} == {elected[0].broker}, "what it did not lead stays where it was"
    controllers = [elections.controllers[epoch] for epoch in sorted(elections.controllers)]
    assert_followed(shown_in(controlling, 0), controllers)
    assert errors == []
    page.goto(f"/replication/?q={TOPIC}")
    expect(page.locator("#replication-events")).to_contain_text("Out of sync", timeout=SOON_MS)
    page.goto("/controller/")
    expect(page.locator("#controller-verdict")).to_contain_text("decides since", timeout=SOON_MS)
    expect(page.locator("#controller-elections tbody tr")).not_to_have_count(0)


def test_a_hanging_broker_is_shown_to_have_left_and_to_have_come_back(page: Page, cluster: Installation) -> None:
    hanging = 1 + admin_of(cluster.bootstrap).list_topics(timeout=10).controller_id % 3
    page.goto("/brokers/")
    row = page.locator(f"#broker-{hanging}")
    expect(row).to_contain_text("up", timeout=SOON_MS)
    pid = cluster.service_pid(f"broker-{hanging}")
    os.kill(pid, signal.SIGSTOP)
    try:
        expect(row).to_contain_text("left the cluster", timeout=SOON_MS)
        expect(page.locator("#brokers-verdict")).to_contain_text("1 of 3 brokers")
    finally:
        os.kill(pid, signal.SIGCONT)
    expect(row).not_to_contain_text("left the cluster", timeout=SOON_MS)
    page.goto("/replication/")
    expect(page.locator("#replication-events")).to_contain_text("Broker left", timeout=SOON_MS)


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


# Work on the whole cluster -------------------------------------------------------------------------


def begin(page: Page, url: str, button: str) -> None:
    """Press it as soon as the wizard offers it: what telemetry says may be some seconds behind."""

    def offered() -> bool:
        page.goto(url)
        return page.get_by_role("button", name=button).count() == 1

    wait_until(offered, f"{url} offers {button!r}", seconds=60)
    page.get_by_role("button", name=button).click()
    page.wait_for_url("**/jobs/*/")


def test_a_rolling_restart_is_begun_from_the_page_and_watched_to_its_end(page: Page, cluster: Installation) -> None:
    create(cluster, "restarted", PARTITIONS, 3)
    produce(cluster, "restarted", 60)
    pids = {one: cluster.service_pid(f"broker-{one}") for one in (1, 2, 3)}
    begin(page, "/brokers/rolling-restart/", "Begin the restart")
    expect(page.locator("#restart-steps tbody tr")).to_have_count(3, timeout=SOON_MS)
    expect(page.locator("#restart-steps [aria-current=step]")).to_have_count(1)
    expect(page.locator("#restart-steps")).to_contain_text("restarted", timeout=2 * SOON_MS)
    expect(page.locator("#job-part h2").first).to_contain_text("succeeded", timeout=4 * SOON_MS)
    expect(page.locator("#restart-steps .ot-level--good")).to_have_count(3)
    after = {one: cluster.service_pid(f"broker-{one}") for one in (1, 2, 3)}
    assert all(after[one] not in (0, pids[one]) for one in pids)


def test_moves_are_paused_and_gone_on_with_from_the_page_of_their_run(page: Page, cluster: Installation) -> None:
    placement = [[1, 2]] * 12
    admin_of(cluster.bootstrap).create_topics([NewTopic("uneven", 12, replica_assignment=placement)])["uneven"].result(
        20
    )
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all"})
    for _ in range(4):  # a limit lets some seconds' worth pass at once
        for number in range(12):
            producer.produce("uneven", b"x" * 300_000, partition=number)
        assert producer.flush(30) == 0
    begin(page, "/brokers/rebalance/?throttle=100+KiB", "Even out")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#job-part")).to_contain_text("Paused: what is on its way goes on", timeout=SOON_MS)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#job-part")).not_to_contain_text("Paused:", timeout=SOON_MS)
    expect(page.locator("#job-part h2").first).to_contain_text("succeeded", timeout=4 * SOON_MS)
    assert {broker for one in partitions_of(cluster, "uneven").values() for broker in one.replicas} == {1, 2, 3}
