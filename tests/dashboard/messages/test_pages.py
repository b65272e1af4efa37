"""The message pages over a log in memory: what is shown, how pages turn, what is refused."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest
from django.test import Client

from broker.client.results import DamagedBatch
from dashboard.gateway import GatewayError
from dashboard.models import AuditEntry
from tests.dashboard.fakes import FakeGateway
from tests.dashboard.messages.records import FakeLog, record

pytestmark = pytest.mark.django_db


def page(client: Client, url: str, status: int = 200) -> str:
    response = client.get(url)
    assert response.status_code == status, response.content
    return response.content.decode()


def offsets(html: str) -> list[tuple[int, int]]:
    return [(int(p), int(o)) for p, o in re.findall(r'<tr id="m-(\d+)-(\d+)">', html)]


def link(html: str, words: str) -> str:
    found = re.search(rf'<a href="([^"]*)"[^>]*>(?:<span[^>]*>[^<]*</span>)?{words}</a>', html)
    assert found is not None, f"no link {words!r}"
    return unescape(found[1])


def test_it_takes_a_login(client: Client) -> None:
    for url in ("/topics/orders/?tab=messages", "/topics/orders/messages/0/0/", "/topics/orders/messages/download/"):
        assert client.get(url).headers["Location"].startswith("/login/")


def test_the_newest_are_shown_and_pages_turn_both_ways(viewer: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.log = FakeLog([record(offset) for offset in range(120)], ends={1: 0})
    first = page(viewer, "/topics/orders/?tab=messages&limit=50")
    assert offsets(first) == [(0, offset) for offset in range(119, 69, -1)]
    second = page(viewer, "/topics/orders/" + link(first, "Older"))
    assert offsets(second) == [(0, offset) for offset in range(69, 19, -1)]
    back = page(viewer, "/topics/orders/" + link(second, "Newer"))
    assert offsets(back) == offsets(first)


def test_from_an_offset_the_oldest_come_first(viewer: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.log = FakeLog([record(offset) for offset in range(120)], ends={1: 0})
    shown = page(viewer, "/topics/orders/?tab=messages&from=offset&offset=30&partition=0&limit=20")
    assert offsets(shown) == [(0, offset) for offset in range(30, 50)]
    assert offsets(page(viewer, "/topics/orders/" + link(shown, "Newer")))[0] == (0, 50)


def test_from_a_time_partitions_without_later_records_show_nothing(viewer: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.log = FakeLog(
        [record(offset, timestamp_ms=1_000_000 + offset * 1000) for offset in range(10)]
        + [record(offset, partition=1, timestamp_ms=0) for offset in range(10)]
    )
    shown = page(viewer, "/topics/orders/?tab=messages&from=time&time=1970-01-01T00:16:45&zone=UTC")
    assert offsets(shown) == [(0, offset) for offset in range(5, 10)]


def test_the_price_of_a_filter_is_told(viewer: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.log = FakeLog([record(offset, value=b"%d" % offset) for offset in range(200)], ends={1: 0})
    shown = page(viewer, "/topics/orders/?tab=messages&q=value+%3D+42")
    assert offsets(shown) == [(0, 42)]
    assert "<strong>1</strong> shown of 200 scanned" in shown


def test_a_filter_that_cannot_be_read_is_an_error_at_the_field(viewer: Client, fake_gateway: FakeGateway) -> None:
    shown = page(viewer, "/topics/orders/?tab=messages&q=key+%3D")
    assert 'aria-describedby="browse-q-error"' in shown
    assert "has to follow" in shown
    assert offsets(shown) == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "keeps no records"),
        ("&q=nothing", "keeps no records"),
        ("&partition=7", "no partition 7"),
    ],
)
def test_an_empty_topic_says_so(viewer: Client, fake_gateway: FakeGateway, query: str, words: str) -> None:
    assert words in page(viewer, f"/topics/orders/?tab=messages{query}")


def test_payloads_are_text_and_never_markup(viewer: Client, fake_gateway: FakeGateway) -> None:
    attack = b"<script>alert(1)</script>\xe2\x80\xae"
    fake_gateway.log = FakeLog([record(0, key=attack, value=attack, headers=((attack.decode(), attack),))], ends={1: 0})
    for url in ("/topics/orders/?tab=messages", "/topics/orders/messages/0/0/"):
        shown = page(viewer, url)
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown
        assert "\u202e" not in shown


def test_damage_and_trouble_are_told_and_the_rest_is_shown(viewer: Client, fake_gateway: FakeGateway) -> None:
    log = FakeLog([record(offset) for offset in range(5)], ends={0: 10, 1: 3})
    log.damaged[0] = [DamagedBatch(base_offset=5, last_offset=9, reason="its checksum is wrong")]
    log.refusing[1] = "There is no leader."
    fake_gateway.log = log
    shown = page(viewer, "/topics/orders/?tab=messages")
    assert "offsets 5 to 9" in shown
    assert "Partition 1 cannot be read." in shown
    assert len(offsets(shown)) == 5


def test_a_broker_that_does_not_answer_leaves_a_page(viewer: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.trouble = GatewayError("The broker did not answer in time.")
    assert "Messages cannot be shown." in page(viewer, "/topics/orders/?tab=messages")
    assert "cannot be read now" in page(viewer, "/topics/orders/messages/0/0/", status=503)


def test_a_record_has_everything_known_about_it(viewer: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.log = FakeLog([record(3, value=b'{"a": {"b": [1]}}', headers=(("h", b"\xff"),))], ends={0: 9, 1: 0})
    shown = page(viewer, "/topics/orders/messages/0/3/")
    for words in ("CreateTime", "Batch starts at", "Producer id", "Compression", "ot-json", "hex</span> ff"):
        assert words in shown
    inline = viewer.get("/topics/orders/messages/0/3/", headers={"X-Ottla-Inline": "1"}).content.decode()
    assert "<html" not in inline
    assert 'class="ot-record"' in inline


@pytest.mark.parametrize(
    ("offset", "words"),
    [(1, "has been deleted"), (4, "There is no record at this offset"), (9, "Nothing is written here yet")],
)
def test_an_offset_without_a_record_is_explained(
    viewer: Client, fake_gateway: FakeGateway, offset: int, words: str
) -> None:
    log = FakeLog([record(3), record(5)], ends={0: 9, 1: 0})
    log.starts[0] = 3
    fake_gateway.log = log
    assert words in page(viewer, f"/topics/orders/messages/0/{offset}/", status=404)


@pytest.mark.parametrize(
    "url", ["/topics/other/messages/0/0/", "/topics/orders/messages/9/0/", f"/topics/orders/messages/0/{10**30}/"]
)
def test_what_does_not_exist_is_not_found(viewer: Client, fake_gateway: FakeGateway, url: str) -> None:
    page(viewer, url, status=404)


def test_the_bytes_are_downloaded_as_they_are(viewer: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.log = FakeLog([record(0, key=None, value=b"<html>\r\n\x00")], ends={1: 0})
    response = viewer.get("/topics/orders/messages/0/0/value/")
    assert response.content == b"<html>\r\n\x00"
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == 'attachment; filename="orders-0-0.value"'
    assert viewer.get("/topics/orders/messages/0/0/key/").status_code == 404
    assert viewer.get("/topics/orders/messages/0/0/topic/").status_code == 404


def test_a_selection_is_downloaded_as_json_and_audited(viewer: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.log = FakeLog([record(0, value="Käthe".encode()), record(1, key=b"\xff", value=None)], ends={1: 0})
    response = viewer.get("/topics/orders/messages/download/?from=oldest")
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["Content-Type"] == "application/octet-stream"
    first, second = json.loads(response.content)
    assert (first["offset"], first["value"]) == (0, "Käthe")
    assert (second["key_base64"], second["value"]) == ("/w==", None)
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.subject, entry.after) == ("download messages", "orders", {"messages": 2})
