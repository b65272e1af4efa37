"""Brokers' configs from the pages, over brokers in memory and over a real one."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from broker.client.results import BrokerEndpoint, ClusterDescription, ConfigEntry
from broker.errors import ErrorCode
from dashboard.brokers import views
from dashboard.gateway import GatewayError
from dashboard.live.store import MemoryStore
from dashboard.models import AuditEntry
from tests.dashboard.browsing import read, sign_in
from tests.dashboard.config_changes.test_change import entry
from tests.dashboard.samples import Bench, partition, sample, topic

pytestmark = pytest.mark.django_db


class FakeGateway:
    def __init__(self) -> None:
        self.entries = [entry(default="604800000"), entry("broker.id", "INT", read_only=True, static="1")]
        self.trouble: GatewayError | None = None
        self.refusal: GatewayError | None = None
        self.changed: list[tuple[int | None, str, str | None]] = []

    def describe_cluster(self) -> ClusterDescription:
        return ClusterDescription(
            cluster_id="c", controller_id=1, brokers=(BrokerEndpoint(id=1, host="10.0.0.1", port=9092),)
        )

    def broker_configs(self, broker_id: int) -> list[ConfigEntry]:
        if self.trouble is not None:
            raise self.trouble
        return self.entries

    def alter_broker_config(
        self, broker_id: int | None, name: str, value: str | None, *, validate_only: bool = False
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        if not validate_only:
            self.changed.append((broker_id, name, value))


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, live_memory: MemoryStore) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(views, "gateway", lambda: fake)
    return fake


@pytest.fixture
def operator(client: Client, django_user_model: Any) -> Client:
    return sign_in(client, django_user_model, "change_broker")


URL = "/brokers/1/configs/log.retention.ms/"


def test_it_takes_a_login(client: Client) -> None:
    for url in ("/brokers/", "/brokers/1/configs/", URL):
        assert client.get(url).headers["Location"].startswith("/login/")


def test_the_list_is_live(viewer: Client, at_bench_time: Bench) -> None:
    at_bench_time.feed(sample(1, full=True, topics=[topic("orders")], partitions=[partition("orders")]))
    at_bench_time.step()
    body = read(viewer, "/brokers/")
    assert 'id="brokers-body"' in body
    assert '"page": "brokers"' in body
    assert 'href="/brokers/1/"' in body


def test_configs_are_shown_with_their_origin(viewer: Client, gateway: FakeGateway) -> None:
    body = read(viewer, "/brokers/1/configs/")
    assert "7 d" in body
    assert "at start</span>" in body
    assert "broker.id" not in read(viewer, "/brokers/1/configs/?show=dynamic")
    assert "broker.id" not in read(viewer, "/brokers/all/configs/"), "what cannot change has no value for all brokers"
    assert "No config matches" in read(viewer, "/brokers/1/configs/?q=nothing")
    assert read(viewer, "/brokers/nobody/configs/", 404)


def test_a_change_is_shown_before_it_is_made(operator: Client, gateway: FakeGateway) -> None:
    body = read(operator, f"{URL}?value=1+d")
    assert "The broker has checked this and would accept it." in body
    assert gateway.changed == []
    assert operator.post(f"{URL}?value=1+d").status_code == 302
    assert gateway.changed == [(1, "log.retention.ms", "86400000")]
    audited = AuditEntry.objects.get()
    assert (audited.subject, audited.before, audited.after) == (
        "log.retention.ms of broker 1",
        {"value": None},
        {"value": "86400000"},
    )


def test_an_own_value_can_be_taken_away(operator: Client, gateway: FakeGateway) -> None:
    gateway.entries = [entry(everywhere="86400000", default="604800000")]
    assert "so that 7 d acts" in read(operator, "/brokers/all/configs/log.retention.ms/?reset=1")
    operator.post("/brokers/all/configs/log.retention.ms/?reset=1")
    assert gateway.changed == [(None, "log.retention.ms", None)]


@pytest.mark.parametrize(
    ("query", "words"), [("value=soon", "Write a time such as"), ("reset=1", "That is what it is already.")]
)
def test_what_cannot_be_set_is_said_at_the_field(
    operator: Client, gateway: FakeGateway, query: str, words: str
) -> None:
    assert words in read(operator, f"{URL}?{query}")


def test_the_brokers_own_reason_is_shown_and_kept(operator: Client, gateway: FakeGateway) -> None:
    gateway.refusal = GatewayError("Value must be at least 1.", code=ErrorCode.INVALID_CONFIG)
    assert "Value must be at least 1." in read(operator, f"{URL}?value=0+s")
    assert operator.post(f"{URL}?value=0+s").status_code == 409
    assert AuditEntry.objects.get().outcome == "refused"


def test_what_is_read_at_start_and_who_may_not_are_told(operator: Client, gateway: FakeGateway) -> None:
    assert "The broker reads it when it starts" in read(operator, "/brokers/1/configs/broker.id/")
    assert operator.post("/brokers/1/configs/broker.id/?value=2").status_code == 409
    assert gateway.changed == []


def test_without_the_permission_nothing_changes(viewer: Client, gateway: FakeGateway) -> None:
    assert "Your account may look at brokers" in read(viewer, f"{URL}?value=1+d")
    assert viewer.post(f"{URL}?value=1+d").status_code == 403
    assert gateway.changed == []


def test_a_broker_that_does_not_answer_is_said(viewer: Client, gateway: FakeGateway) -> None:
    gateway.trouble = GatewayError("The broker did not answer in time.")
    assert "The broker did not answer in time." in read(viewer, "/brokers/1/configs/")
    assert "The broker did not answer in time." in read(viewer, URL, 503)


def test_a_real_broker_takes_a_change_and_gives_it_back(admin_client: Client, cluster: KafkaClient) -> None:
    def value() -> str | None:
        return next(one.value for one in cluster.describe_broker_configs(1) if one.name == "log.retention.ms")

    before = value()
    for slug in ("1", "all"):
        url = f"/brokers/{slug}/configs/log.retention.ms/"
        assert admin_client.post(f"{url}?value=3+d").status_code == 302
        assert value() == str(3 * 86_400_000)
        assert "3 d" in admin_client.get(f"/brokers/{slug}/configs/?q=log.retention.ms").content.decode()
        assert admin_client.post(f"{url}?reset=1").status_code == 302
        assert value() == before
    assert admin_client.post("/brokers/1/configs/log.retention.ms/?value=-5").status_code == 409
