"""Resetting and deleting from the pages, over a cluster in memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import unescape
from typing import Any

import pytest
from django.test import Client

from broker.client.offset_reset import PartitionFacts, Strategy
from broker.client.reset_facts import Activity
from broker.client.results import TopicMetadata
from broker.errors import ErrorCode
from broker.types import TopicPartition
from dashboard.gateway import GatewayError
from dashboard.group_changes import deletion, reset
from dashboard.models import AuditEntry
from tests.dashboard.browsing import read, sign_in
from tests.dashboard.fakes import topic

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_memory")]

RESET = "/groups/by-id/reset-offsets?group=billing&topic=orders"


class FakeGateway:
    """The group ``billing`` has read the two partitions of ``orders`` up to 30 and 60 of 100."""

    def __init__(self) -> None:
        self.committed = {TopicPartition("orders", 0): 30, TopicPartition("orders", 1): 60}
        self.starts = {TopicPartition("orders", 0): 10, TopicPartition("orders", 1): 0}
        self.activity = Activity(exists=True, state="Empty", members=0, type="classic")
        self.refused: dict[TopicPartition, ErrorCode] = {}
        self.trouble: GatewayError | None = None
        self.deleted: list[str] = []

    def group_activity(self, group_id: str) -> Activity:
        if self.trouble is not None:
            raise self.trouble
        return self.activity

    def topic(self, name: str) -> TopicMetadata:
        if name != "orders":
            raise GatewayError(f"There is no topic called {name}.", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return topic(name, 2)

    def committed_offsets(self, group_id: str) -> dict[TopicPartition, int]:
        return dict(self.committed)

    def reset_facts(
        self, group_id: str, partitions: Iterable[TopicPartition], strategy: Strategy
    ) -> list[PartitionFacts]:
        return [
            PartitionFacts(
                topic_partition=key, log_start=self.starts[key], log_end=100, committed=self.committed.get(key)
            )
            for key in partitions
        ]

    def commit_offsets(self, group_id: str, offsets: Mapping[TopicPartition, int]) -> dict[TopicPartition, ErrorCode]:
        outcomes = {key: self.refused.get(key, ErrorCode.NONE) for key in offsets}
        self.committed.update({key: offsets[key] for key, code in outcomes.items() if not code})
        return outcomes

    def delete_group_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        for key in partitions:
            del self.committed[key]
        return dict.fromkeys(partitions, ErrorCode.NONE)

    def delete_group(self, group_id: str) -> None:
        self.deleted.append(group_id)


@pytest.fixture(autouse=True)
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    for module in (reset, deletion):
        monkeypatch.setattr(module, "gateway", lambda: fake)
    return fake


@pytest.fixture
def operator(client: Client, django_user_model: Any) -> Client:
    return sign_in(client, django_user_model, "change_consumer_group")


def plan_in(body: str) -> str:
    found = re.search(r'name="plan" value="([^"]*)"', body)
    assert found is not None
    return unescape(found[1])


def test_it_takes_a_login(client: Client) -> None:
    for url in (RESET, "/groups/by-id/delete?group=billing", "/groups/by-id/delete-offsets?group=billing&topic=orders"):
        assert client.get(url).headers["Location"].startswith("/login/")


def test_the_first_step_offers_the_topics_the_group_has_read(operator: Client) -> None:
    body = read(operator, "/groups/by-id/reset-offsets?group=billing")
    assert 'name="topic" value="orders" checked' in body
    assert "2 partitions committed" in body
    for words in ("Earliest", "Latest", "A time", "An offset", "Shift by"):
        assert words in body


def test_the_second_step_shows_before_and_after_and_changes_nothing(operator: Client, gateway: FakeGateway) -> None:
    before = dict(gateway.committed)
    body = read(operator, f"{RESET}&to=earliest")
    assert "2 of 2 partitions change; 80 records are read again." in body
    assert "manage.py groups reset-offsets billing --topic orders --to-earliest" in body
    assert "20 again" in body
    assert gateway.committed == before
    assert not AuditEntry.objects.exists()


def test_an_offset_outside_of_the_log_is_moved_and_said(operator: Client) -> None:
    body = read(operator, f"{RESET}&to=offset&offset=5")
    assert "1 partition gets another offset than you asked for." in body
    assert "5 is outside of the log; moved to its start" in body


def test_typing_the_name_carries_it_out_and_leaves_a_row(operator: Client, gateway: FakeGateway) -> None:
    plan = plan_in(read(operator, f"{RESET}&to=latest"))
    answer = operator.post(f"{RESET}&to=latest", {"plan": plan, "typed_name": "billing"}, follow=True)
    assert set(gateway.committed.values()) == {100}
    body = answer.content.decode()
    assert "2 partitions reset." in body
    assert body.count('<span class="ot-level__word">reset</span>') == 2
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.outcome, entry.after["partitions"]) == (
        "reset offsets",
        "billing",
        "done",
        2,
    )
    assert entry.after["results"][0] == {"topic": "orders", "partition": 0, "before": 30, "after": 100, "refused": ""}


def test_another_name_changes_nothing(operator: Client, gateway: FakeGateway) -> None:
    plan = plan_in(read(operator, f"{RESET}&to=latest"))
    answer = operator.post(f"{RESET}&to=latest", {"plan": plan, "typed_name": "Billing"})
    assert "That is not the name of the group." in answer.content.decode()
    assert set(gateway.committed.values()) == {30, 60}


def test_a_commit_in_between_shows_the_plan_again(operator: Client, gateway: FakeGateway) -> None:
    plan = plan_in(read(operator, f"{RESET}&to=latest"))
    gateway.committed[TopicPartition("orders", 0)] = 44
    answer = operator.post(f"{RESET}&to=latest", {"plan": plan, "typed_name": "billing"})
    assert answer.status_code == 409
    assert "have moved since you looked" in answer.content.decode()
    assert gateway.committed[TopicPartition("orders", 1)] == 60


@pytest.mark.parametrize(
    ("activity", "words"),
    [
        (Activity(exists=True, state="Stable", members=2, type="classic"), "The group has 2 members"),
        (Activity(exists=True, state="Reconciling", members=1, type="consumer"), "The group has 1 member:"),
        (Activity(exists=True, state="Stable", members=None, type="share"), "The group is not idle (stable)"),
    ],
)
def test_while_members_read_the_plan_is_shown_and_the_deed_refused(
    operator: Client, gateway: FakeGateway, activity: Activity, words: str
) -> None:
    plan = plan_in(read(operator, f"{RESET}&to=latest"))
    gateway.activity = activity
    body = read(operator, f"{RESET}&to=latest")
    assert words in body
    assert "Before and after" in body
    assert 'name="plan"' not in body
    assert operator.post(f"{RESET}&to=latest", {"plan": plan, "typed_name": "billing"}).status_code == 409
    assert set(gateway.committed.values()) == {30, 60}
    assert AuditEntry.objects.get().outcome == "refused"


def test_who_may_not_is_told_and_refused(viewer: Client, gateway: FakeGateway) -> None:
    body = read(viewer, f"{RESET}&to=latest")
    assert "Your account may look at groups but not change them." in body
    for url in (f"{RESET}&to=latest", "/groups/by-id/delete?group=billing"):
        assert viewer.post(url, {"plan": "[]", "typed_name": "billing"}).status_code == 403
    assert (set(gateway.committed.values()), gateway.deleted) == ({30, 60}, [])


def test_a_partition_the_broker_refuses_is_told_by_itself(operator: Client, gateway: FakeGateway) -> None:
    gateway.refused = {TopicPartition("orders", 1): ErrorCode.UNKNOWN_MEMBER_ID}
    plan = plan_in(read(operator, f"{RESET}&to=latest"))
    body = operator.post(f"{RESET}&to=latest", {"plan": plan, "typed_name": "billing"}, follow=True).content.decode()
    assert "1 of 2 partitions was refused; the others are reset." in body
    assert ErrorCode.UNKNOWN_MEMBER_ID.message in unescape(body)


def test_the_results_are_for_who_did_it_and_for_auditors(
    operator: Client, client: Client, django_user_model: Any, gateway: FakeGateway
) -> None:
    plan = plan_in(read(operator, f"{RESET}&to=latest"))
    url = operator.post(f"{RESET}&to=latest", {"plan": plan, "typed_name": "billing"}).headers["Location"]
    assert operator.get(url).status_code == 200
    other = Client()
    other.force_login(django_user_model.objects.create_user("other", password="a long enough password"))
    assert other.get(url).status_code == 404


@pytest.mark.parametrize("to", ["to=offset", "to=shift&shift=x", "to=nonsense"])
def test_what_cannot_be_read_leads_back_to_the_first_step(operator: Client, to: str) -> None:
    body = read(operator, f"{RESET}&{to}")
    assert "ot-error" in body
    assert "Show before and after" in body


def test_a_topic_that_does_not_exist_is_said(operator: Client) -> None:
    assert "There is no topic called ghost." in read(
        operator, "/groups/by-id/reset-offsets?group=billing&topic=ghost&to=latest"
    )


def test_a_broker_that_does_not_answer_is_said(operator: Client, gateway: FakeGateway) -> None:
    gateway.trouble = GatewayError("The broker did not answer in time.")
    for url in (
        "/groups/by-id/reset-offsets?group=billing",
        f"{RESET}&to=latest",
        "/groups/by-id/delete?group=billing",
    ):
        assert "The broker did not answer in time." in read(operator, url)


def test_a_group_is_deleted_by_its_name(operator: Client, gateway: FakeGateway) -> None:
    url = "/groups/by-id/delete?group=billing"
    assert "2 partitions" in read(operator, url)
    assert operator.post(url, {"typed_name": "bill"}).status_code == 409
    assert gateway.deleted == []
    assert operator.post(url, {"typed_name": "billing"}).headers["Location"] == "/groups/"
    assert gateway.deleted == ["billing"]
    assert AuditEntry.objects.get().before == {"topics": {"orders": 2}}


def test_the_offsets_of_one_topic_are_deleted_by_the_groups_name(operator: Client, gateway: FakeGateway) -> None:
    url = "/groups/by-id/delete-offsets?group=billing&topic=orders"
    assert "The group forgets where it was in orders" in read(operator, url)
    assert operator.post(url, {"typed_name": "billing"}).headers["Location"] == "/groups/billing/"
    assert gateway.committed == {}
    assert operator.get(url).status_code == 404


def test_a_group_with_members_cannot_be_deleted(operator: Client, gateway: FakeGateway) -> None:
    gateway.activity = Activity(exists=True, state="Stable", members=1, type="classic")
    url = "/groups/by-id/delete?group=billing"
    assert "This cannot be done now" in read(operator, url)
    operator.post(url, {"typed_name": "billing"})
    assert gateway.deleted == []
