"""Producing by hand: what is typed becomes exactly these bytes, and who may not is told why."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from dashboard.gateway import GatewayError
from dashboard.messages.produce_form import ProduceForm
from dashboard.models import AuditEntry
from tests.dashboard.fakes import FakeGateway, topic

pytestmark = pytest.mark.django_db
URL = "/topics/orders/produce/"
FIELDS = {"key_format": "text", "value_format": "text", "partition": "", "compression": "none"}


def post(client: Client, **fields: Any) -> Any:
    return client.post(URL, {**FIELDS, **fields})


def test_it_says_where_the_record_landed(editor: Client, fake_gateway: FakeGateway) -> None:
    response = post(editor, key="user-7", value="hello", headers="source: console\n\nraw: hex:00ff\n", partition="1")
    assert response.status_code == 302
    assert fake_gateway.produced == [
        {
            "key": b"user-7",
            "value": b"hello",
            "headers": [("source", b"console"), ("raw", b"\x00\xff")],
            "partition": 1,
            "compression": "none",
        }
    ]
    page = editor.get(response.headers["Location"]).content.decode()
    assert "Written to partition 1 at offset 0" in page
    assert 'href="/topics/orders/messages/1/0/"' in page
    assert "hello" not in response.headers["Location"], "payloads are not put into addresses"


def test_the_audit_trail_keeps_sizes_and_never_the_payload(editor: Client, fake_gateway: FakeGateway) -> None:
    post(editor, key="secret-key", value="secret-value")
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.subject, entry.outcome, entry.actor_name) == ("produce", "orders", "done", "editor")
    assert entry.after == {"key bytes": 10, "value bytes": 12, "headers": 0, "partition": 0, "offset": 0}


@pytest.mark.parametrize(
    ("fields", "key", "value"),
    [
        ({"key": "", "value": ""}, None, b""),
        ({"key_format": "empty", "value": ""}, b"", b""),
        ({"key_format": "none", "value": "x"}, None, b"x"),
        ({"key": "k", "value_format": "null"}, b"k", None),
        ({"key_format": "hex", "key": "00 FF 0a", "value_format": "hex", "value": "0x00"}, b"\x00\xff\x0a", b"\x00"),
        ({"key": " spaced ", "value": "a\r\nb"}, b" spaced ", b"a\nb"),
        ({"value_format": "json", "value": '{"a":  1}'}, None, b'{"a":  1}'),
        ({"value": "Käthe 🚆"}, None, "Käthe 🚆".encode()),
    ],
)
def test_what_is_typed_becomes_these_bytes(
    editor: Client, fake_gateway: FakeGateway, fields: dict[str, str], key: bytes | None, value: bytes | None
) -> None:
    assert post(editor, **fields).status_code == 302
    (produced,) = fake_gateway.produced
    assert (produced["key"], produced["value"]) == (key, value)


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"value_format": "json", "value": "{"}, "value", "Not JSON"),
        ({"value_format": "json", "value": "[" * 50_000}, "value", "Not JSON"),
        ({"value_format": "hex", "value": "0g"}, "value", "two digits"),
        ({"value_format": "hex", "value": "abc"}, "value", "two digits"),
        ({"value_format": "null", "value": "x"}, "value", "tombstone"),
        ({"key_format": "none", "key": "x"}, "key", "no key"),
        ({"headers": "no colon"}, "headers", "Line 1"),
        ({"headers": "x: 1\n" * 101}, "headers", "at most"),
        ({"partition": "9"}, "partition", "valid choice"),
        ({"compression": "brotli"}, "compression", "valid choice"),
        ({"value": "x" * (1024 * 1024 + 1)}, "value", "at most"),
    ],
)
def test_what_cannot_be_produced_is_an_error_at_its_field(
    editor: Client, fake_gateway: FakeGateway, fields: dict[str, str], field: str, words: str
) -> None:
    response = post(editor, **fields)
    assert response.status_code == 200
    assert words in response.content.decode()
    assert f'id="id_{field}_error"' in response.content.decode()
    assert fake_gateway.produced == []


def test_a_topic_of_the_cluster_is_refused_with_the_reason(editor: Client, fake_gateway: FakeGateway) -> None:
    fake_gateway.known["orders"] = topic("orders", internal=True)
    response = post(editor, value="x")
    assert response.status_code == 403
    assert b"belongs to the cluster" in response.content
    assert fake_gateway.produced == []
    assert AuditEntry.objects.get().outcome == "refused"


def test_a_viewer_sees_why_not_and_cannot(viewer: Client, fake_gateway: FakeGateway) -> None:
    page = viewer.get("/topics/orders/?tab=produce").content.decode()
    assert "may look at topics but not write" in page
    assert '<fieldset class="ot-produce__all" disabled>' in page
    assert post(viewer, value="x").status_code == 403
    assert fake_gateway.produced == []


def test_forms_of_other_sites_are_refused(editor: Client, fake_gateway: FakeGateway) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = editor.cookies
    assert strict.post(URL, FIELDS).status_code == 403
    assert editor.get(URL).status_code == 405


def test_a_refusal_of_the_broker_keeps_what_was_typed(editor: Client, fake_gateway: FakeGateway) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise GatewayError("The record is too large.")

    fake_gateway.produce = refuse  # type: ignore[method-assign]
    response = post(editor, key="k", value="typed by hand")
    page = response.content.decode()
    assert response.status_code == 503
    assert "The record is too large." in page
    assert "typed by hand" in page
    assert AuditEntry.objects.get().outcome == "refused"


def test_a_topic_that_is_gone_is_not_found(editor: Client, fake_gateway: FakeGateway) -> None:
    assert editor.post("/topics/gone/produce/", FIELDS).status_code == 404


def test_every_field_has_a_label() -> None:
    form = ProduceForm(partitions=[0])
    assert all(field.label for field in form.fields.values())
