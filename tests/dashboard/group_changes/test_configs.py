"""A group's configs from the pages, over a cluster in memory and over a real broker."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from broker.client.reset_facts import Activity
from broker.client.results import ConfigEntry
from broker.errors import ErrorCode
from dashboard.gateway import GatewayError
from dashboard.group_changes import configs
from dashboard.models import AuditEntry
from tests.dashboard.browsing import read, sign_in
from tests.dashboard.config_changes.test_change import entry

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_memory")]

NAME = "consumer.session.timeout.ms"
LIST = "/groups/by-id/configs?group=billing"
ONE = f"/groups/by-id/config?group=billing&name={NAME}"


class FakeGateway:
    def __init__(self) -> None:
        self.entries = [entry(NAME, "INT", default="45000")]
        self.activity = Activity(exists=True, state="Stable", members=1, type="consumer")
        self.trouble: GatewayError | None = None
        self.refusal: GatewayError | None = None
        self.changed: list[tuple[str, str, str | None]] = []

    def group_activity(self, group_id: str) -> Activity:
        return self.activity

    def group_configs(self, group_id: str) -> list[ConfigEntry]:
        if self.trouble is not None:
            raise self.trouble
        return self.entries

    def alter_group_config(self, group_id: str, name: str, value: str | None, *, validate_only: bool = False) -> None:
        if self.refusal is not None:
            raise self.refusal
        if not validate_only:
            self.changed.append((group_id, name, value))


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(configs, "gateway", lambda: fake)
    return fake


@pytest.fixture
def operator(client: Client, django_user_model: Any) -> Client:
    return sign_in(client, django_user_model, "change_consumer_group")


def test_it_takes_a_login(client: Client) -> None:
    for url in (LIST, ONE):
        assert client.get(url).headers["Location"].startswith("/login/")


def test_what_is_set_is_told_from_what_is_inherited(viewer: Client, gateway: FakeGateway) -> None:
    body = read(viewer, LIST)
    assert "Nothing is set for this group" in body
    assert "45 s" in body
    gateway.entries = [entry(NAME, "INT", group="60000", default="45000")]
    body = read(viewer, LIST)
    assert "1 of 1 configs is set for this group." in body
    assert "set for this group</span>" in body


@pytest.mark.parametrize(
    ("activity", "words"),
    [
        (Activity(exists=True, state="Stable", members=1, type="classic"), "The group uses the classic protocol"),
        (Activity(exists=False, state="", members=0, type=""), "There is no such group now"),
    ],
)
def test_where_they_do_not_act_the_page_says_so(
    viewer: Client, gateway: FakeGateway, activity: Activity, words: str
) -> None:
    assert words not in read(viewer, LIST)
    gateway.activity = activity
    assert words in read(viewer, LIST)


def test_a_change_is_shown_before_it_is_made_and_leaves_a_row(operator: Client, gateway: FakeGateway) -> None:
    body = read(operator, f"{ONE}&value=1+min")
    assert "The broker has checked this and would accept it." in body
    assert "so that 45 s acts" in body, "what acts now is told, though it is set elsewhere"
    assert gateway.changed == []
    assert operator.post(f"{ONE}&value=1+min").headers["Location"] == LIST
    assert gateway.changed == [("billing", NAME, "60000")]
    audited = AuditEntry.objects.get()
    assert (audited.action, audited.subject) == ("change group config", f"{NAME} of group billing")
    assert (audited.before, audited.after) == ({"value": None}, {"value": "60000"})


def test_the_field_keeps_whose_config_it_is(operator: Client, gateway: FakeGateway) -> None:
    body = read(operator, ONE)
    assert '<input type="hidden" name="group" value="billing">' in body
    assert f'<input type="hidden" name="name" value="{NAME}">' in body


def test_an_own_value_can_be_taken_away(operator: Client, gateway: FakeGateway) -> None:
    gateway.entries = [entry(NAME, "INT", group="60000", default="45000")]
    assert f"?group=billing&amp;name={NAME}&amp;reset=1" in read(operator, ONE)
    assert "so that 45 s acts" in read(operator, f"{ONE}&reset=1")
    operator.post(f"{ONE}&reset=1")
    assert gateway.changed == [("billing", NAME, None)]


def test_the_brokers_own_reason_is_shown_and_kept(operator: Client, gateway: FakeGateway) -> None:
    gateway.refusal = GatewayError("It must be at least the least.", code=ErrorCode.INVALID_CONFIG)
    assert "It must be at least the least." in read(operator, f"{ONE}&value=1+ms")
    assert operator.post(f"{ONE}&value=1+ms").status_code == 409
    assert AuditEntry.objects.get().outcome == "refused"


def test_without_the_permission_nothing_changes(viewer: Client, gateway: FakeGateway) -> None:
    assert "Your account may look at groups" in read(viewer, LIST)
    assert "Your account may look at groups" in read(viewer, f"{ONE}&value=1+min")
    assert viewer.post(f"{ONE}&value=1+min").status_code == 403
    assert gateway.changed == []


def test_a_broker_that_does_not_answer_is_said(viewer: Client, gateway: FakeGateway) -> None:
    gateway.trouble = GatewayError("The broker did not answer in time.")
    assert "The broker did not answer in time." in read(viewer, LIST)
    assert "The broker did not answer in time." in read(viewer, ONE, 503)


def test_a_config_that_does_not_exist_is_not_found(viewer: Client, gateway: FakeGateway) -> None:
    assert viewer.get("/groups/by-id/config?group=billing&name=nothing").status_code == 404


def test_a_real_broker_takes_a_change_and_gives_it_back(admin_client: Client, cluster: KafkaClient) -> None:
    def value() -> str | None:
        return next(one.value for one in cluster.describe_group_configs("späť/1") if one.name == NAME)

    one = f"/groups/by-id/config?group=sp%C3%A4%C5%A5%2F1&name={NAME}"
    assert admin_client.post(f"{one}&value=50+s").status_code == 302
    assert value() == "50000"
    assert "50 s" in read(admin_client, "/groups/by-id/configs?group=sp%C3%A4%C5%A5%2F1")
    assert "must be greater than or equal to" in read(admin_client, f"{one}&value=1+s")
    assert admin_client.post(f"{one}&reset=1").status_code == 302
    assert value() == "45000"
