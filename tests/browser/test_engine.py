"""What the console shows of the engine, in a real Chromium with real clients: segments, resets, transactions, clients.

Every test fails when the page logs an error (see ``chromium.signed_in``).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator

import confluent_kafka
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from playwright.sync_api import Page, expect

from tests.support.installation import Installation

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
SOON_MS = 15_000


@pytest.fixture
def topic(installation: Installation) -> str:
    """One partition that starts a new segment with every megabyte."""
    name = f"engine.{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": installation.bootstrap})
    admin.create_topics([NewTopic(name, 1, 1, config={"segment.bytes": str(2**20)})])[name].result(10)
    return name


def produce(installation: Installation, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": installation.bootstrap, "acks": "all", "batch.num.messages": 1})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(20) == 0


@pytest.fixture
def open_transaction(installation: Installation, topic: str) -> Iterator[Producer]:
    """Five records that nobody who reads committed records sees yet. The transactional id is the topic's name."""
    producer = Producer({"bootstrap.servers": installation.bootstrap, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    for number in range(5):
        producer.produce(topic, b"%d" % number, partition=0)
    producer.flush(20)
    yield producer
    producer.purge()


def test_the_strip_shows_every_segment_and_grows_with_the_log(
    page: Page, installation: Installation, topic: str
) -> None:
    produce(installation, topic, *[bytes(900_000)] * 3)
    page.goto(f"/topics/{topic}/?tab=segments")
    bars = page.locator(".ot-strip .ot-seg")
    expect(bars).to_have_count(3)
    expect(page.locator(".ot-strip .ot-seg.is-active")).to_have_count(1)
    first, last = bars.first.locator(".ot-seg__room").bounding_box(), bars.last.locator(".ot-seg__room").bounding_box()
    assert first is not None
    assert last is not None
    assert first["width"] > 200
    assert first["x"] + first["width"] <= last["x"] + 1
    expect(page.locator("#segment-0")).to_contain_text("by age")
    # The page follows the log by itself.
    produce(installation, topic, bytes(900_000))
    expect(bars).to_have_count(4, timeout=SOON_MS)
    expect(page.locator("#segment-3")).to_contain_text("active")
    expect(page.locator("#segment-2")).not_to_contain_text("active")
    page.get_by_role("link", name="Time", exact=True).click()
    page.wait_for_url(re.compile("axis=time"))
    expect(bars).to_have_count(4)
    expect(page.locator(".ot-strip")).to_contain_text("now")


def test_offsets_are_reset_in_two_steps(page: Page, installation: Installation, topic: str) -> None:
    group = f"readers.{topic}"
    produce(installation, topic, *[b"x"] * 10)
    consumer = Consumer({"bootstrap.servers": installation.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    consumer.close()
    page.goto(f"/groups/{group}/")
    committed = page.locator(f"tr:has-text('{topic}') td[data-label='Committed']")
    expect(committed).to_have_text("7", timeout=SOON_MS)
    page.get_by_role("link", name="Reset offsets").click()
    page.get_by_label("Shift by").check()
    page.get_by_role("textbox", name="Records").fill("-5")
    page.get_by_role("button", name="Show before and after").click()
    row = page.locator("#plan tbody tr")
    expect(row).to_contain_text("5 again")
    expect(page.locator(".ot-command code")).to_have_text(
        f"manage.py groups reset-offsets {group} --topic {topic} --shift-by=-5"
    )
    # Another name changes nothing.
    page.get_by_label(re.compile("Type")).fill("something else")
    page.get_by_role("button", name="Reset the offsets").click()
    expect(page.get_by_role("alert")).to_contain_text("That is not the name of the group.")
    page.get_by_label(re.compile("Type")).fill(group)
    page.get_by_role("button", name="Reset the offsets").click()
    expect(page.locator("#results tbody tr")).to_contain_text("reset")
    page.get_by_role("link", name="Look at the group").click()
    expect(committed).to_have_text("2", timeout=SOON_MS)


def test_while_a_consumer_reads_the_reset_says_why_not(page: Page, installation: Installation, topic: str) -> None:
    group = f"busy.{topic}"
    produce(installation, topic, b"x")
    consumer = Consumer(
        {"bootstrap.servers": installation.bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    assert consumer.poll(20) is not None
    consumer.commit(asynchronous=False)
    page.goto(f"/groups/by-id/reset-offsets?group={group}&topic={topic}&to=earliest")
    expect(page.locator("#plan tbody tr")).to_contain_text("1 again")
    expect(page.locator(".ot-error")).to_contain_text("The group has 1 member: stop its consumers first.")
    expect(page.get_by_role("button", name="Reset the offsets")).to_have_count(0)
    consumer.close()


def test_a_transaction_shows_up_ages_and_is_aborted(page: Page, open_transaction: Producer, topic: str) -> None:
    page.goto(f"/topics/{topic}/")
    stable = page.locator("#partition-0")
    expect(stable).to_contain_text("last stable 0", timeout=SOON_MS)
    page.goto("/transactions/?show=open")
    row = page.locator(f"tr:has-text('{topic}')")
    expect(row).to_contain_text("open")
    expect(row.locator("td[data-label='Holds back']")).to_have_text("5")
    age = row.locator("td[data-label='Open for'] time")
    young = age.inner_text()
    expect(age).not_to_have_text(young, timeout=SOON_MS)
    row.get_by_role("link", name=topic).click()
    expect(page.locator("#transaction-part")).to_contain_text("5 records wait behind it")
    page.get_by_role("link", name="Abort").click()
    expect(page.locator(".ot-effects")).to_contain_text("5 waiting records can go on")
    page.get_by_label(re.compile("Type")).fill(topic)
    page.get_by_role("button", name="Abort the transaction").click()
    expect(page.locator("#transaction-part")).to_contain_text("Nothing is open", timeout=SOON_MS)
    page.goto(f"/topics/{topic}/")
    expect(stable).to_contain_text("6", timeout=SOON_MS)
    expect(stable).not_to_contain_text("last stable")
    with pytest.raises(KafkaException):
        open_transaction.commit_transaction(10)


def test_the_clients_page_shows_a_real_client_and_disconnects_it(page: Page, installation: Installation) -> None:
    client_id = f"shop-{uuid.uuid4().hex[:6]}"
    producer = Producer({"bootstrap.servers": installation.bootstrap, "client.id": client_id})
    producer.list_topics(timeout=20)
    page.goto("/clients/")
    row = page.locator(f"tr:has-text('{client_id}')")
    expect(row).to_contain_text("confluent-kafka-python", timeout=SOON_MS)
    expect(row).to_contain_text(confluent_kafka.libversion()[0].split("-")[0])
    row.get_by_role("link", name=client_id).click()
    expect(page.locator("#client-part tbody tr")).not_to_have_count(0)
    expect(page.locator("#client-part")).to_contain_text("Metadata v")
    page.get_by_role("link", name="Disconnect", exact=True).click()
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_text(re.compile(rf"of {client_id} ended\."))).to_be_visible()


def test_the_palette_leads_to_the_new_pages(page: Page, installation: Installation) -> None:
    for name, url in (("Transactions", "/transactions/"), ("Clients", "/clients/"), ("Brokers", "/brokers/")):
        page.goto("/")
        page.keyboard.press("Control+k")
        page.get_by_role("combobox", name="Search topics, groups and pages").fill(name)
        expect(page.locator("#ot-palette-list [aria-selected=true]")).to_contain_text(name)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{url}")


def test_a_group_of_the_new_protocol_shows_epochs_and_targets(
    page: Page, installation: Installation, topic: str
) -> None:
    group = f"modern.{topic}"
    produce(installation, topic, b"x")
    consumer = Consumer(
        {
            "bootstrap.servers": installation.bootstrap,
            "group.id": group,
            "group.protocol": "consumer",
            "client.id": "modern-reader",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    assert consumer.poll(30) is not None
    consumer.commit(asynchronous=False)
    page.goto(f"/groups/{group}/")
    expect(page.locator("#group-verdict")).to_contain_text("new (KIP-848) protocol", timeout=SOON_MS)
    expect(page.locator("#group-tiles")).to_contain_text("group epoch")
    expect(page.locator("#group-tiles")).to_contain_text("assignor of the broker")
    member = page.locator("#group-members-body tr")
    expect(member).to_contain_text("modern-reader")
    expect(member).to_contain_text(f"subscribed to {topic}")
    expect(member).to_contain_text("epoch")
    page.goto(f"/groups/by-id/reset-offsets?group={group}&topic={topic}&to=earliest")
    expect(page.locator(".ot-error")).to_contain_text("The group has 1 member")
    consumer.close()
    page.goto(f"/groups/{group}/")
    expect(page.locator("#group-members-body")).to_contain_text("No members.", timeout=SOON_MS)


def test_a_groups_config_is_changed_in_two_steps_and_taken_away(
    page: Page, installation: Installation, topic: str
) -> None:
    group, name = f"configured.{topic}", "consumer.heartbeat.interval.ms"
    consumer = Consumer({"bootstrap.servers": installation.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, 0)], asynchronous=False)
    consumer.close()
    page.goto(f"/groups/{group}/")
    page.get_by_role("link", name="Configure").click()
    row = page.locator(f"tr:has-text('{name}')")
    expect(row).to_contain_text("default")
    row.get_by_role("link", name=f"Change {name}").click()
    value = page.get_by_label(f"New value for group {group}")
    expect(value).to_have_value("5 s")
    value.fill("1 h")
    page.get_by_role("button", name="Show before and after").click()
    expect(page.locator(".ot-error")).to_contain_text("group.consumer.max.heartbeat.interval.ms")
    value.fill("7 s")
    page.get_by_role("button", name="Show before and after").click()
    expect(page.locator("#before-after")).to_contain_text("7 s")
    page.get_by_role("button", name="Apply the change").click()
    expect(page.get_by_text(f"{name} of group {group}: not set here → 7 s.")).to_be_visible()
    expect(row).to_contain_text("set for this group")
    row.get_by_role("link", name=f"Change {name}").click()
    page.get_by_role("link", name="Take it away").click()
    expect(page.locator("#before-after")).to_contain_text("so that 5 s acts")
    page.get_by_role("button", name="Apply the change").click()
    expect(row).to_contain_text("default")
