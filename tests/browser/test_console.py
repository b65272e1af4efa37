"""What people do with the console, in a real Chromium against a real installation and real clients.

Every test fails when the page logs an error: an exception, a load that failed, or anything the Content-Security-Policy
refused (see ``chromium.signed_in``).
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from playwright.sync_api import Locator, Page, expect

from tests.browser.chromium import Browser, signed_in
from tests.support.installation import Installation

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
SOON_MS = 15_000


@pytest.fixture
def name() -> str:
    return f"console.{uuid.uuid4().hex[:8]}"


@pytest.fixture
def admin(installation: Installation) -> AdminClient:
    return AdminClient({"bootstrap.servers": installation.bootstrap})


@pytest.fixture
def topic(admin: AdminClient, name: str) -> str:
    """With two partitions."""
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(10)
    return name


def produce(installation: Installation, topic: str, *values: bytes, partition: int = 0, key: bytes = b"key") -> None:
    producer = Producer({"bootstrap.servers": installation.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value, key=key, partition=partition, headers=[("source", b"test")])
    assert producer.flush(20) == 0


def numbered(count: int) -> list[bytes]:
    return [json.dumps({"number": number, "even": number % 2 == 0}).encode() for number in range(count)]


def commit(installation: Installation, topic: str, group: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": installation.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def wait(page: Page, condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        page.wait_for_timeout(50)


def rows(page: Page) -> Locator:
    return page.locator(".ot-table--messages tbody tr:not(.ot-more)")


def kept(page: Page) -> Locator:
    return page.locator("[data-tail-rows] tr:not(.ot-skipped)")


# The whole way -------------------------------------------------------------------------------------


def test_a_topic_is_made_in_the_admin_fed_by_a_client_and_outlives_its_broker(
    page: Page, installation: Installation, name: str
) -> None:
    page.goto("/topics/")
    page.get_by_role("link", name="Create a topic").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Partitions").fill("1")
    page.get_by_label("retention.ms", exact=True).fill("2 h")
    page.get_by_role("button", name="Review the topic").click()
    expect(page.get_by_text("Nothing is changed yet.")).to_be_visible()
    expect(page.locator("tr", has_text="retention.ms")).to_contain_text("2 h")
    page.get_by_role("button", name="Create the topic").click()
    expect(page.locator("#changelist-form")).to_contain_text(name)

    page.goto(f"/topics/{name}/")
    high_watermark = page.locator("#partition-0 [data-label='High watermark']")
    expect(high_watermark).to_have_text("0", timeout=SOON_MS)
    page.evaluate("window.notReloaded = true")
    produce(installation, name, *numbered(20))
    expect(high_watermark).to_have_text("20", timeout=SOON_MS)
    assert page.evaluate("window.notReloaded")

    commit(installation, name, f"{name}-readers", 5)
    page.goto(f"/topics/{name}/?tab=groups")
    lag = page.locator("#topic-groups-body tr", has_text=f"{name}-readers")
    expect(lag).to_contain_text("15", timeout=SOON_MS)
    page.evaluate("window.notReloaded = true")
    commit(installation, name, f"{name}-readers", 18)
    expect(lag).to_contain_text("2", timeout=SOON_MS)

    # The supervisor brings it back within a second: hold it down until the page has noticed.
    badge = page.locator("#ot-live")
    deadline = time.monotonic() + 40
    while not re.search("stale", badge.inner_text()):
        assert time.monotonic() < deadline, "the page never said that the broker is gone"
        if installation.service_pid("broker-1"):
            installation.kill_service("broker-1")
        page.wait_for_timeout(100)
    expect(badge).to_contain_text("live,", timeout=60_000)
    assert page.evaluate("window.notReloaded")
    produce(installation, name, *numbered(3))
    expect(lag).to_contain_text("5", timeout=SOON_MS)
    page.goto(f"/topics/{name}/?tab=messages&partition=0")
    expect(rows(page)).to_have_count(23)


# Messages ------------------------------------------------------------------------------------------


def test_messages_are_searched_opened_and_paged(page: Page, installation: Installation, topic: str) -> None:
    produce(installation, topic, *numbered(120))
    page.goto(f"/topics/{topic}/?tab=messages")
    expect(rows(page)).to_have_count(50)
    expect(rows(page).first).to_contain_text('"number": 119')
    page.get_by_role("link", name="Older").click()
    expect(rows(page).first).to_contain_text('"number": 69')
    page.go_back()
    expect(rows(page).first).to_contain_text('"number": 119')

    page.keyboard.press("/")
    page.keyboard.type("value.even = true and value contains 11")
    page.keyboard.press("Enter")
    expect(rows(page)).to_have_count(5)
    expect(page.locator(".ot-cost").first).to_contain_text("of 120 scanned")
    assert "q=" in page.url
    page.reload()
    expect(rows(page)).to_have_count(5)

    page.locator("[data-expand]").first.click()
    record = page.locator(".ot-more .ot-record")
    expect(record.locator(".ot-json")).to_contain_text('"even": true')
    record.locator("input[value=hex]").last.check()
    expect(record.locator(".ot-hex").last).to_be_visible()
    expect(record.locator(".ot-json")).to_be_hidden()
    record.locator("a.ot-link").click()
    page.wait_for_url(re.compile(rf"/topics/{topic}/messages/0/\d+/$"))
    expect(page.locator(".ot-headers")).to_contain_text("source")


def test_reading_starts_at_an_offset_or_a_time(page: Page, installation: Installation, topic: str) -> None:
    produce(installation, topic, *numbered(40))
    page.goto(f"/topics/{topic}/?tab=messages")
    page.get_by_label("Start at").select_option("offset")
    offset = page.get_by_label("Offset", exact=True)
    expect(offset).to_be_focused()
    offset.fill("30")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(rows(page)).to_have_count(10)
    expect(rows(page).first).to_contain_text('"number": 30')
    page.get_by_label("Start at").select_option("time")
    page.get_by_role("link", name="1 h ago").click()
    expect(rows(page)).to_have_count(40)
    expect(rows(page).first).to_contain_text('"number": 0')


def test_payloads_of_strangers_stay_text(page: Page, installation: Installation, topic: str) -> None:
    attack = b"<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>\xe2\x80\xae\x1b[2J"
    produce(installation, topic, attack, b'{"<b>": "<script>window.hacked=1</script>"}', key=attack)
    page.goto(f"/topics/{topic}/?tab=messages")
    expect(rows(page)).to_have_count(2)
    for index in range(2):
        page.locator("[data-expand]").nth(index).click()
    expect(page.locator(".ot-more .ot-record")).to_have_count(2)
    expect(page.locator(".ot-more .ot-hidden").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    page.goto(f"/topics/{topic}/?tab=tail")
    expect(page.locator("[data-tail-state]")).to_contain_text("following", timeout=SOON_MS)
    produce(installation, topic, attack, key=attack)
    expect(kept(page)).to_have_count(1, timeout=SOON_MS)
    expect(kept(page)).to_contain_text("<script>")
    assert page.evaluate("window.hacked") is None


def test_a_selection_is_downloaded(page: Page, installation: Installation, topic: str) -> None:
    produce(installation, topic, *numbered(3))
    page.goto(f"/topics/{topic}/?tab=messages&from=oldest")
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    saved = json.loads(download.value.path().read_text())
    assert [json.loads(record["value"])["number"] for record in saved] == [0, 1, 2]


# Live tail -----------------------------------------------------------------------------------------


def test_the_tail_follows_pauses_and_stays_bounded(page: Page, installation: Installation, topic: str) -> None:
    produce(installation, topic, b"before")
    page.goto(f"/topics/{topic}/?tab=tail&keep=50")
    expect(page.locator("[data-tail-state]")).to_contain_text("following", timeout=SOON_MS)
    produce(installation, topic, b"first", partition=1)
    expect(kept(page)).to_have_count(1, timeout=SOON_MS)
    expect(kept(page)).to_contain_text("first")

    page.get_by_role("button", name="Pause").click()
    expect(page.locator("[data-tail-state]")).to_contain_text("nothing is read")
    page.wait_for_timeout(1_000)  # A poll that was under way may still bring something; none after it may.
    produce(installation, topic, b"while paused")
    page.wait_for_timeout(1_500)
    expect(kept(page)).to_have_count(1)
    page.get_by_role("button", name="Resume").click()
    expect(kept(page)).to_have_count(2, timeout=SOON_MS)

    produce(installation, topic, *numbered(120))
    expect(kept(page).last).to_contain_text('"number": 119', timeout=SOON_MS)
    expect(kept(page)).to_have_count(50)
    expect(page.locator("[data-tail-counts]")).to_contain_text("50 kept of 122")


def test_the_tail_stays_where_the_reader_is(page: Page, installation: Installation, topic: str) -> None:
    page.goto(f"/topics/{topic}/?tab=tail")
    expect(page.locator("[data-tail-state]")).to_contain_text("following", timeout=SOON_MS)
    produce(installation, topic, *numbered(100))
    scroll = page.locator("[data-tail-scroll]")
    at_bottom = "element => element.scrollHeight - element.scrollTop - element.clientHeight < 10"
    expect(kept(page)).to_have_count(100, timeout=SOON_MS)
    assert scroll.evaluate(at_bottom)
    scroll.evaluate("element => { element.scrollTop = 40; }")
    produce(installation, topic, *numbered(5))
    jump = page.get_by_role("button", name="5 newer")
    expect(jump).to_be_visible(timeout=SOON_MS)
    assert scroll.evaluate("element => element.scrollTop") == 40
    jump.click()
    assert scroll.evaluate(at_bottom)
    expect(jump).to_be_hidden()


def test_the_tail_filters(page: Page, installation: Installation, topic: str) -> None:
    page.goto(f"/topics/{topic}/?tab=tail&q=value.number+%3D+7")
    expect(page.locator("[data-tail-state]")).to_contain_text("following", timeout=SOON_MS)
    produce(installation, topic, *numbered(20))
    expect(kept(page)).to_have_count(1, timeout=SOON_MS)


# Producing, by keyboard alone ----------------------------------------------------------------------


def test_a_record_is_produced_and_found_by_keyboard_alone(page: Page, topic: str) -> None:
    page.goto(f"/topics/{topic}/?tab=produce")
    reach(page, "#id_key")
    page.keyboard.type("user-7")
    reach(page, "#id_value_format")
    page.keyboard.type("JSON")
    reach(page, "#id_value")
    page.keyboard.type('{"by": "hand"')
    reach(page, "button:has-text('Produce')")
    page.keyboard.press("Enter")
    expect(page.locator("#id_value_error")).to_contain_text("Not JSON")
    reach(page, "#id_value")
    page.keyboard.press("Control+End")
    page.keyboard.type("}")
    reach(page, "button:has-text('Produce')")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Written to partition")).to_be_visible()
    reach(page, "a:has-text('Look at it')")
    page.keyboard.press("Enter")
    expect(page.locator(".ot-json")).to_contain_text('"by": "hand"')
    expect(page.locator(".ot-record")).to_contain_text("user-7")


def reach(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus, and see that the focus shows."""
    wanted = page.locator(selector).first
    for _ in range(80):
        if wanted.evaluate("element => element === document.activeElement"):
            outline = wanted.evaluate("element => getComputedStyle(element).outlineStyle")
            assert outline != "none", f"{selector} does not show that it has the focus"
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached with the Tab key")


# Jobs and the demo ---------------------------------------------------------------------------------


def test_retention_runs_when_somebody_asks(page: Page) -> None:
    page.goto("/jobs/")
    expect(page.get_by_text("Next retention")).to_be_visible()
    page.get_by_role("button", name="Run retention now").click()
    page.wait_for_url(re.compile(r"/jobs/\d+/$"))
    number = page.url.rstrip("/").rpartition("/")[2]
    expect(page.locator("#job-part")).to_contain_text("succeeded", timeout=SOON_MS)
    page.goto("/jobs/?trigger=person")
    row = page.locator(f"#job-{number}")
    expect(row).to_contain_text("succeeded")
    expect(row).to_contain_text("admin")


def test_the_demo_workload_starts_and_stops(page: Page, installation: Installation) -> None:
    page.goto("/")
    expect(page.locator("#ot-live")).to_contain_text("live,", timeout=SOON_MS)
    # The empty cluster offers it in the middle of the page; this one is not empty any more.
    page.locator("form[action='/demo/start/']").evaluate("form => form.submit()")
    expect(page.get_by_role("button", name="Stop the demo workload")).to_be_visible(timeout=SOON_MS)
    expect(page.locator("#overview-topics")).to_contain_text("demo.machine.metrics", timeout=30_000)
    expect(page.locator("#overview-groups")).to_contain_text("demo-archiver", timeout=30_000)
    page.get_by_role("button", name="Stop the demo workload").click()
    expect(page.get_by_text("The demo workload is stopped.")).to_be_visible(timeout=SOON_MS)
    wait(page, lambda: installation.service_pid("demo") == 0, "the demo still runs")


def test_the_administration_mirrors_another_client_within_two_seconds(
    page: Page, admin: AdminClient, name: str
) -> None:
    page.goto("/admin/dashboard/topic/")
    table = page.locator("#changelist-form")
    expect(table).not_to_contain_text(name)
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(10)
    expect(table).to_contain_text(name, timeout=5_000)
    admin.delete_topics([name])[name].result(10)
    expect(table).not_to_contain_text(name, timeout=5_000)


@pytest.mark.parametrize(
    "address",
    [
        "/topics/{topic}/?tab=messages",
        "/topics/{topic}/messages/0/0/",
        "/topics/{topic}/?tab=tail",
        "/topics/{topic}/?tab=produce",
        "/jobs/",
        "/admin/dashboard/topic/add/",
    ],
)
def test_nothing_hangs_over_the_edge_of_a_phone(
    browser: Browser, installation: Installation, topic: str, address: str
) -> None:
    produce(installation, topic, b"x" * 2_000, key=b"k" * 300)
    with signed_in(browser, installation.url, width=390, height=844) as phone:
        phone.goto(address.format(topic=topic))
        phone.wait_for_load_state("networkidle")
        width = phone.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, f"{width} pixels wide"
