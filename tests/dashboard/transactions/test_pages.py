"""The Transactions pages over a cluster in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from django.test import Client

from broker.client.results import ProducerDescription, TransactionDescription, TransactionListing
from broker.errors import ErrorCode
from dashboard.gateway import GatewayError
from dashboard.live import rendering
from dashboard.models import AuditEntry
from dashboard.transactions import reading, views
from tests.dashboard.browsing import read, sign_in
from tests.dashboard.transactions.test_survey import NOW_MS, P0, described, opened

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_memory")]


class FakeGateway:
    def __init__(self) -> None:
        self.transactions = [described("pay <1>", 7, P0), described("ship", 8, state="CompleteCommit")]
        self.open = [opened(7, 0, 40)]
        self.trouble: GatewayError | None = None
        self.refusal: GatewayError | None = None
        self.ended: list[Any] = []

    def list_transactions(self) -> list[TransactionListing]:
        if self.trouble is not None:
            raise self.trouble
        return [
            TransactionListing(
                transactional_id=one.transactional_id, coordinator=1, producer_id=one.producer_id, state=one.state
            )
            for one in self.transactions
        ]

    def describe_transactions(self, listings: Iterable[TransactionListing]) -> dict[str, TransactionDescription]:
        return {one.transactional_id: one for one in self.transactions}

    def producers(self, topic: str) -> list[ProducerDescription]:
        return self.open

    def topic_ends(self, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        return dict.fromkeys(partitions, (40, 100))

    def terminate_transaction(self, transactional_id: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.ended.append(transactional_id)

    def abort_in_partition(self, *values: Any) -> None:
        self.ended.append(values)


@pytest.fixture(autouse=True)
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    for module in (reading, views):
        monkeypatch.setattr(module, "gateway", lambda: fake)
    monkeypatch.setattr(rendering, "wall_ms", lambda: NOW_MS)
    return fake


@pytest.fixture
def operator(client: Client, django_user_model: Any) -> Client:
    return sign_in(client, django_user_model, "abort_transaction")


ABORT = "/transactions/abort?id=pay+%3C1%3E"


def test_it_takes_a_login(client: Client) -> None:
    for url in ("/transactions/", "/transactions/one?id=x", ABORT):
        assert client.get(url).headers["Location"].startswith("/login/")


def test_open_ones_come_first_with_what_they_hold_back(viewer: Client) -> None:
    body = read(viewer, "/transactions/")
    assert "1 open; 60 records wait behind it" in body
    assert body.index("pay &lt;1&gt;") < body.index("ship")
    assert "<1>" not in body


def test_one_that_holds_readers_back_for_a_minute_is_what_the_page_says_first(
    viewer: Client, gateway: FakeGateway
) -> None:
    assert "has been open for" not in read(viewer, "/transactions/")
    gateway.transactions[0] = described("pay <1>", 7, P0, age_ms=300_000)
    body = read(viewer, "/transactions/")
    verdict = body[body.index('id="transactions-part"') :].split("</p>")[0]
    assert "ot-level--warn" in verdict
    assert "pay &lt;1&gt; has been open for" in verdict


def test_kinds_and_the_filter_are_in_the_address(viewer: Client) -> None:
    assert "ship" not in read(viewer, "/transactions/?show=open")
    assert "No transaction matches." in read(viewer, "/transactions/?show=hanging")
    assert "pay &lt;1&gt;</a>" not in read(viewer, "/transactions/?q=SHIP").split("<tbody>")[1]


def test_the_poll_answers_with_the_part_alone(viewer: Client) -> None:
    answer = viewer.get("/transactions/", headers={"X-Ottla-Poll": "1"})
    body = answer.content.decode()
    assert body.lstrip().startswith('<div id="transactions-part"')
    assert "<html" not in body


def test_a_transaction_has_a_page_that_outlives_it(viewer: Client, gateway: FakeGateway) -> None:
    body = read(viewer, "/transactions/one?id=pay+%3C1%3E")
    assert "60 records wait behind it" in body
    assert "broker refuses" not in body
    gateway.transactions.clear()
    gateway.open.clear()
    assert "has anything of" in viewer.get("/transactions/one?id=pay", headers={"X-Ottla-Poll": "1"}).content.decode()
    assert read(viewer, "/transactions/one?id=pay", 404)


def test_aborting_lists_its_effects_and_takes_the_id(operator: Client, gateway: FakeGateway) -> None:
    body = read(operator, ABORT)
    assert "its records from offset" in body
    assert "60 waiting records can go on" in body
    assert operator.post(ABORT, {"typed_name": "pay"}).status_code == 409
    assert gateway.ended == []
    assert operator.post(ABORT, {"typed_name": "pay <1>"}).headers["Location"] == "/transactions/one?id=pay+%3C1%3E"
    assert gateway.ended == ["pay <1>"]
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.before["partitions"]) == ("abort transaction", "pay <1>", ["orders-0"])


def test_a_hanging_one_is_ended_in_its_partitions_by_its_producer_id(operator: Client, gateway: FakeGateway) -> None:
    gateway.transactions.clear()
    gateway.transactions.append(described("other", 1, P0))
    body = read(operator, "/transactions/?show=hanging")
    assert "1 transaction hangs" in body
    assert "/transactions/one?producer=7" in body
    url = "/transactions/abort?producer=7"
    assert "Type the producer id <strong>7</strong>" in read(operator, url)
    operator.post(url, {"typed_name": "7"})
    assert gateway.ended == [("orders", 0, 7, 3, 0)]


def test_what_is_decided_or_over_cannot_be_aborted(operator: Client, gateway: FakeGateway) -> None:
    assert "there is nothing to abort" in read(operator, "/transactions/abort?id=ship")
    gateway.transactions[0] = described("pay <1>", 7, P0, state="PrepareCommit")
    assert "It is decided already" in read(operator, ABORT)
    assert operator.post(ABORT, {"typed_name": "pay <1>"}).status_code == 409
    assert gateway.ended == []


def test_a_refusal_of_the_broker_is_shown_and_kept(operator: Client, gateway: FakeGateway) -> None:
    gateway.refusal = GatewayError("The transaction does not complete.", code=ErrorCode.CONCURRENT_TRANSACTIONS)
    answer = operator.post(ABORT, {"typed_name": "pay <1>"})
    assert "The transaction does not complete." in answer.content.decode()
    assert AuditEntry.objects.get().outcome == "refused"


def test_who_may_not_sees_why(viewer: Client, gateway: FakeGateway) -> None:
    assert "Your account may look at transactions but not end them." in read(viewer, ABORT)
    assert viewer.post(ABORT, {"typed_name": "pay <1>"}).status_code == 403
    assert gateway.ended == []


def test_brokers_that_do_not_answer_are_said(viewer: Client, gateway: FakeGateway) -> None:
    gateway.trouble = GatewayError("The broker did not answer in time.")
    for url in ("/transactions/", "/transactions/one?id=x"):
        assert "The broker did not answer in time." in read(viewer, url)
    assert viewer.get("/transactions/", headers={"X-Ottla-Poll": "1"}).status_code == 503
