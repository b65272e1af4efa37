"""What a person sees move, in a real Chromium against a real installation."""

from __future__ import annotations

import json
import re
import time
import uuid

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from playwright.sync_api import Locator, Page, expect

from tests.browser.chromium import Browser, signed_in
from tests.support.installation import Installation

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
SOON_MS = 15_000
"""Two samples, a frame and a slow machine."""


@pytest.fixture
def topic(installation: Installation) -> str:
    name = f"live.{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": installation.bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)
    return name


def produce(installation: Installation, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": installation.bootstrap, "acks": "all"})
    for number in range(count):
        producer.produce(topic, json.dumps({"number": number}).encode())
    assert producer.flush(10) == 0


def commit(installation: Installation, topic: str, group: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": installation.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def high_watermark(page: Page) -> Locator:
    return page.locator("#partition-0 [data-label='High watermark']")


def test_the_badge_says_live_within_seconds(page: Page) -> None:
    expect(page.locator("#ot-live")).to_contain_text("live,", timeout=SOON_MS)


def test_a_page_whose_rows_are_large_stays_live(page: Page, installation: Installation) -> None:
    """Fifty topics with names as long as they may be are a quarter of a MiB, in one message."""
    admin = AdminClient({"bootstrap.servers": installation.bootstrap})
    names = [f"{number:02}-{'long-' * 40}{uuid.uuid4().hex[:8]}" for number in range(50)]
    for created in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        created.result(20)
    closed: list[str] = []
    try:
        page.on("websocket", lambda socket: socket.on("close", lambda _: closed.append(socket.url)))
        page.goto("/topics/?q=long-long-")
        expect(page.locator("#topics-body tr")).to_have_count(50, timeout=SOON_MS)
        expect(page.locator("#ot-live")).to_contain_text("live,", timeout=SOON_MS)
        page.evaluate("window.notReloaded = true")
        produce(installation, names[0], 7)
        expect(page.locator("#topics-body tr").first).to_contain_text("7", timeout=SOON_MS)
        assert page.evaluate("window.notReloaded")
        assert closed == []
    finally:
        for deleted in admin.delete_topics(names).values():
            deleted.result(20)


def test_offsets_move_without_a_reload(page: Page, installation: Installation, topic: str) -> None:
    page.goto(f"/topics/{topic}/")
    expect(high_watermark(page)).to_have_text("0", timeout=SOON_MS)
    page.evaluate("window.notReloaded = true")
    produce(installation, topic, 25)
    expect(high_watermark(page)).to_have_text("25", timeout=SOON_MS)
    produce(installation, topic, 5)
    expect(high_watermark(page)).to_have_text("30", timeout=SOON_MS)
    assert page.evaluate("window.notReloaded")


def test_lag_moves_without_a_reload(page: Page, installation: Installation, topic: str) -> None:
    produce(installation, topic, 40)
    group = f"{topic}-readers"
    commit(installation, topic, group, 10)
    page.goto(f"/groups/{group}/")
    lag = page.locator("#group-tiles .ot-tile__value").first
    expect(lag).to_have_text("30", timeout=SOON_MS)
    commit(installation, topic, group, 35)
    expect(lag).to_have_text("5", timeout=SOON_MS)
    produce(installation, topic, 2)
    expect(lag).to_have_text("7", timeout=SOON_MS)
    expect(page.locator("#group-verdict")).to_contain_text("7 records wait", timeout=SOON_MS)


def test_a_topic_made_by_another_client_appears_in_the_list(page: Page, installation: Installation) -> None:
    name = f"appears.{uuid.uuid4().hex[:8]}"
    page.goto(f"/topics/?q={name}")
    expect(page.locator("#topics-body")).to_contain_text("No topic matches", timeout=SOON_MS)
    admin = AdminClient({"bootstrap.servers": installation.bootstrap})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(10)
    expect(page.locator("#topics-body .ot-rowlink")).to_have_text(name, timeout=SOON_MS)
    admin.delete_topics([name])[name].result(10)
    expect(page.locator("#topics-body")).to_contain_text("No topic matches", timeout=SOON_MS)


def test_focus_stays_where_it_is_while_the_table_moves(page: Page, installation: Installation, topic: str) -> None:
    page.goto("/topics/")
    link = page.locator("#topics-body .ot-rowlink", has_text=topic)
    link.focus()
    produce(installation, topic, 10)
    row = page.locator("#topics-body tr", has_text=topic)
    expect(row).to_contain_text("10", timeout=SOON_MS)
    assert page.evaluate("document.activeElement.textContent") == topic


def test_a_killed_broker_is_said_and_its_return_too(page: Page, installation: Installation, topic: str) -> None:
    produce(installation, topic, 12)
    page.goto("/")
    expect(page.locator("#overview-health")).to_contain_text("in sync", timeout=SOON_MS)
    page.evaluate("window.notReloaded = true")
    # The supervisor brings it back within a second: hold it down until the page has noticed.
    deadline = time.monotonic() + 30
    while "does not answer" not in page.inner_text("#overview-health"):
        assert time.monotonic() < deadline, "the page never said that the broker is gone"
        if installation.service_pid("broker-1"):
            installation.kill_service("broker-1")
        page.wait_for_timeout(100)
    expect(page.locator("#overview-brokers")).to_contain_text("not answering")
    expect(page.locator("#overview-topics .ot-age")).to_contain_text("stale since")
    expect(page.locator("#overview-health")).to_contain_text("in sync", timeout=60_000)
    expect(page.locator("#overview-topics .ot-age")).not_to_contain_text("stale", timeout=SOON_MS)
    assert page.evaluate("window.notReloaded")
    page.goto(f"/topics/{topic}/")
    expect(high_watermark(page)).to_have_text("12", timeout=SOON_MS)


def test_the_page_works_by_keyboard(page: Page, topic: str) -> None:
    page.goto("/")
    page.keyboard.press("g")
    page.keyboard.press("t")
    page.wait_for_url("**/topics/")
    page.keyboard.press("/")
    page.keyboard.type(topic)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/topics/?*q={topic}*")
    page.keyboard.press("?")
    expect(page.locator("#ot-help")).to_be_visible()
    expect(page.locator("#ot-help")).to_contain_text("Worst lag")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    expect(page.locator("#ot-palette-input")).to_be_focused()
    page.keyboard.type(topic)
    expect(page.locator("#ot-palette-list li").first).to_contain_text(topic)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/topics/{topic}/")


def test_times_are_in_the_readers_own_zone(browser: Browser, installation: Installation, topic: str) -> None:
    produce(installation, topic, 1)
    with signed_in(browser, installation.url, time_zone="Asia/Tokyo") as page:
        page.goto(f"/topics/{topic}/")
        last = page.locator("#topic-tiles time")
        expect(last).to_have_attribute("title", re.compile(r"GMT\+9"), timeout=SOON_MS)


def test_the_list_is_filtered_while_typing(page: Page, installation: Installation, topic: str) -> None:
    page.goto("/topics/?sort=-size")
    expect(page.locator("#ot-live")).to_contain_text("live,", timeout=SOON_MS)
    page.evaluate("window.notReloaded = true")
    page.keyboard.press("/")
    page.keyboard.type("no-such-topic-at-all")
    expect(page.locator("#topics-body")).to_contain_text("No topic matches", timeout=SOON_MS)
    page.fill("#ot-filter", topic)
    expect(page.locator("#topics-body .ot-rowlink")).to_have_text(topic, timeout=SOON_MS)
    assert f"q={topic}" in page.url
    assert "sort=-size" in page.url
    assert f"q={topic}" in (page.locator("a.ot-sort").first.get_attribute("href") or "")
    assert page.evaluate("document.activeElement.id") == "ot-filter"
    produce(installation, topic, 3)
    expect(page.locator("#topics-body tr")).to_contain_text("3", timeout=SOON_MS)
    assert page.evaluate("window.notReloaded")


@pytest.mark.parametrize(
    "address", ["/", "/topics/", "/groups/", "/topics/{topic}/", "/topics/{topic}/?tab=configuration"]
)
def test_nothing_hangs_over_the_edge_of_a_phone(
    browser: Browser, installation: Installation, topic: str, address: str
) -> None:
    with signed_in(browser, installation.url, width=390, height=844) as phone:
        phone.goto(address.format(topic=topic))
        expect(phone.locator("#ot-live")).to_contain_text("live,", timeout=SOON_MS)
        width = phone.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{width} pixels wide"
