"""The segments tab over an inventory in memory."""

from __future__ import annotations

import msgspec
import pytest
from django.test import Client

from broker.client.results import TopicMetadata
from broker.protocol.private import CompactionPartition, PartitionInventory
from dashboard.gateway import GatewayError
from dashboard.live.store import MemoryStore
from dashboard.pages.topics import views
from dashboard.segments import tab
from tests.dashboard.fakes import topic
from tests.retention.test_plan import HOUR_MS, NOW_MS, inventory, segment, three

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_memory")]


class FakeGateway:
    """``orders`` with three partitions; partition 2 is asked for in vain."""

    def __init__(self) -> None:
        self.inventory: PartitionInventory = inventory(*three(), retention_ms=5 * HOUR_MS)
        self.trouble: GatewayError | None = None
        self.asked: list[int] = []

    def topic_exists(self, name: str) -> bool:
        return name == "orders"

    def topic(self, name: str) -> TopicMetadata:
        return topic(name, 3)

    def segments(self, name: str, partition: int) -> tuple[PartitionInventory, int, int]:
        self.asked.append(partition)
        if self.trouble is not None:
            raise self.trouble
        return msgspec.structs.replace(self.inventory, partition=partition), NOW_MS, 1

    def compaction(self, name: str, partition: int, broker_id: int) -> CompactionPartition | None:
        return CompactionPartition(
            topic=name,
            partition=partition,
            topic_id=bytes(16),
            directory="/logs",
            truncations=0,
            log_start_offset=0,
            first_dirty_offset=10,
            decided_offset=20,
            min_cleanable_dirty_ratio=0.6,
            min_compaction_lag_ms=0,
            max_compaction_lag_ms=2**63 - 1,
            delete_retention_ms=0,
            segment_bytes=100,
            segment_index_bytes=100,
            index_interval_bytes=100,
            segments=self.inventory.segments,
            last_compacted_ms=NOW_MS - HOUR_MS,
            last_bytes_before=4096,
            last_bytes_after=1024,
        )


@pytest.fixture(autouse=True)
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(tab, "gateway", lambda: fake)
    monkeypatch.setattr(views, "gateway", lambda: fake)
    return fake


def read(viewer: Client, query: str = "") -> str:
    answer = viewer.get(f"/topics/orders/?tab=segments{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_it_takes_a_login(client: Client) -> None:
    for url in ("/topics/orders/?tab=segments", "/topics/orders/segments/"):
        assert client.get(url).headers["Location"].startswith("/login/")


def test_every_segment_is_a_row_and_a_bar(viewer: Client) -> None:
    body = read(viewer)
    for base in (0, 10, 20):
        assert f'id="segment-{base}"' in body
        assert f'href="#segment-{base}"' in body
    assert "3 segments, 300 B" in body
    assert ">active</span>" in body
    assert "Next to go: offsets" in body


def test_the_axis_and_the_partition_are_in_the_address(viewer: Client, gateway: FakeGateway) -> None:
    body = read(viewer, "&partition=1&axis=time")
    assert gateway.asked == [1]
    assert "segments along time" in body
    assert 'href="?tab=segments&amp;partition=2&amp;axis=time"' in body
    assert 'href="?tab=segments&amp;partition=1&amp;axis=offset"' in body
    assert 'data-poll-part="/topics/orders/segments/?tab=segments&amp;partition=1&amp;axis=time"' in body


def test_the_poll_answers_with_the_part_alone(viewer: Client) -> None:
    answer = viewer.get("/topics/orders/segments/?partition=0&axis=offset")
    body = answer.content.decode()
    assert body.lstrip().startswith('<div id="segments-part"')
    assert "<html" not in body
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"retention_ms": 5 * HOUR_MS}, "by age"),
        ({"retention_ms": -1, "retention_bytes": 300}, "after 100 B more"),
        ({"retention_ms": HOUR_MS}, "due now"),
        ({"retention_ms": -1}, "Nothing is ever deleted here"),
        ({"cleanup_policy": "compact"}, "compaction takes replaced records out of it"),
        ({"segments": [segment(0, 0, size=0, active=True)]}, "This partition keeps no records"),
    ],
)
def test_what_deletes_a_segment_is_said_in_words(
    viewer: Client, gateway: FakeGateway, changes: dict[str, object], words: str
) -> None:
    gateway.inventory = msgspec.structs.replace(gateway.inventory, **changes)
    assert words in read(viewer)


def test_a_compacted_partition_tells_how_far_it_is_cleaned(viewer: Client, gateway: FakeGateway) -> None:
    gateway.inventory = msgspec.structs.replace(gateway.inventory, cleanup_policy="compact")
    body = read(viewer)
    assert "4 KiB became 1 KiB" in body
    assert "50 %" in body
    assert "due above" in body
    assert "Compacted up to offset 10" in body


def test_an_open_transaction_is_marked_where_it_holds_readers_back(viewer: Client, gateway: FakeGateway) -> None:
    gateway.inventory = msgspec.structs.replace(gateway.inventory, last_stable_offset=15)
    assert "an open transaction holds back readers" in read(viewer)


def test_other_limits_can_be_tried(viewer: Client) -> None:
    assert "nothing of partition 0 would go now" in read(viewer, "&age=9+h")
    assert "2 segments</strong> of partition 0 with <strong>200 B" in read(viewer, "&age=90+min")
    assert "1 segment</strong> of partition 0" in read(viewer, "&size=200")
    assert "is not a unit here" in read(viewer, "&age=3+moons")


def test_a_broker_that_does_not_answer_is_said(viewer: Client, gateway: FakeGateway) -> None:
    gateway.trouble = GatewayError("The broker did not answer in time.")
    assert "Segments cannot be shown." in read(viewer)
    assert viewer.get("/topics/orders/segments/").status_code == 503


def test_the_growth_of_the_log_turns_bytes_into_a_time(
    viewer: Client, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, live_memory: MemoryStore
) -> None:
    monkeypatch.setattr(tab, "_growth", lambda name, partition: 50.0)
    gateway.inventory = msgspec.structs.replace(gateway.inventory, retention_ms=-1, retention_bytes=300)
    body = read(viewer)
    assert "grows by" in body
    assert "by size, ~" in body
