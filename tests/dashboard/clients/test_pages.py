"""The Clients pages over brokers in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from broker.client.results import BrokerEndpoint, ClusterDescription
from broker.errors import ErrorCode
from broker.protocol.private import (
    ClientInstanceEntry,
    ClientMetricsResponse,
    ConnectionEntry,
    ConnectionsResponse,
    MetricPoint,
)
from dashboard.clients import metrics, reading, views
from dashboard.clients.grouping import group
from dashboard.gateway import GatewayError
from dashboard.models import AuditEntry
from tests.dashboard.browsing import read
from tests.dashboard.clients.test_grouping import connection

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("live_memory")]
INSTANCE = bytes(range(16))


class FakeGateway:
    """Two brokers; ``shop <1>`` is connected to both, ``idle`` to the first."""

    def __init__(self) -> None:
        self.entries: dict[int, list[ConnectionEntry]] = {
            1: [connection(1, "shop <1>", muted=True, throttled_ms=1_500).entry, connection(2, "idle").entry],
            2: [connection(7, "shop <1>").entry],
        }
        self.troubles: dict[int, GatewayError] = {}
        self.trouble: GatewayError | None = None
        self.refusals: dict[int, GatewayError] = {}
        self.ended: list[tuple[int, int]] = []
        self.subscriptions: dict[str, dict[str, str]] = {"all": {"metrics": "*", "interval.ms": "10000", "match": ""}}
        self.refusal: GatewayError | None = None

    def describe_cluster(self) -> ClusterDescription:
        if self.trouble is not None:
            raise self.trouble
        brokers = tuple(BrokerEndpoint(id=number, host="10.0.0.1", port=9092) for number in self.entries)
        return ClusterDescription(cluster_id="c", controller_id=1, brokers=brokers)

    def connections(
        self, broker_id: int, *, after: int, limit: int, client_id: str, listener: str
    ) -> ConnectionsResponse:
        """One connection a page, so that pages are turned."""
        if broker_id in self.troubles:
            raise self.troubles[broker_id]
        found = [one for one in self.entries[broker_id] if not listener or one.listener == listener]
        rest = [one for one in found if one.connection_id > after]
        more = rest[0].connection_id if len(rest) > 1 else 0
        return ConnectionsResponse(broker_id=broker_id, total=len(found), connections=rest[:1], next_after=more)

    def disconnect(self, broker_id: int, connection_id: int) -> None:
        if connection_id in self.refusals:
            raise self.refusals[connection_id]
        self.ended.append((broker_id, connection_id))

    def client_instances(self, broker_id: int, *, limit: int) -> ClientMetricsResponse:
        entry = ClientInstanceEntry(
            client_instance_id=INSTANCE, client_id="shop <1>", metrics=["*"], interval_ms=10_000, pushes=3
        )
        instances = [entry] if broker_id == 1 else []
        return ClientMetricsResponse(total=len(instances), instances=instances)

    def client_instance(self, broker_id: int, instance_id: bytes) -> ClientInstanceEntry | None:
        points = [
            MetricPoint(name="producer.rtt <avg>", kind="gauge", value=12.34, unit="ms", attributes={"node": "1"}),
            MetricPoint(name="producer.bytes", kind="sum", value=2048, unit="By", delta=True),
        ]
        return ClientInstanceEntry(client_instance_id=INSTANCE, points=points) if instance_id == INSTANCE else None

    def metrics_subscriptions(self) -> dict[str, dict[str, str]]:
        return self.subscriptions

    def alter_metrics_subscription(self, name: str, changes: Mapping[str, str | None]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.subscriptions[name] = {key: value for key, value in changes.items() if value is not None}


@pytest.fixture(autouse=True)
def gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    for module in (reading, views, metrics):
        monkeypatch.setattr(module, "gateway", lambda: fake)
    return fake


@pytest.fixture
def operator(client: Client, django_user_model: Any) -> Client:
    user = django_user_model.objects.create_user("operator", password="a long enough password")
    for codename in ("disconnect_client", "change_broker"):
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)
    return client


def key_of(gateway: FakeGateway, client_id: str) -> str:
    connections = reading.read_connections().connections
    return next(row.key for row in group(connections) if row.client_id == client_id)


def test_it_takes_a_login(client: Client) -> None:
    for url in ("/clients/", "/clients/metrics/", "/clients/abc/", "/clients/abc/disconnect"):
        assert client.get(url).headers["Location"].startswith("/login/")


def test_clients_of_all_brokers_are_listed_with_their_library(viewer: Client) -> None:
    body = read(viewer, "/clients/")
    assert "1 client is being throttled now: shop &lt;1&gt;" in body
    assert "2.16.1-rdkafka-2.16.0" in body
    assert body.count('<tr id="client-') == 2
    assert "<1>" not in body


def test_the_filter_looks_at_client_library_and_host(viewer: Client) -> None:
    for needle, count in (("idle", 1), ("rdkafka", 2), ("10.0.0.7", 2), ("nobody", 0)):
        assert read(viewer, f"/clients/?q={needle}").count('<tr id="client-') == count


def test_internal_connections_are_shown_when_asked_for(viewer: Client, gateway: FakeGateway) -> None:
    gateway.entries[1].append(connection(3, "ottla-collector", listener="internal").entry)
    assert "ottla-collector" not in read(viewer, "/clients/")
    assert "ottla-collector" in read(viewer, "/clients/?listener=internal")


def test_a_broker_that_does_not_answer_is_named_and_the_others_are_shown(viewer: Client, gateway: FakeGateway) -> None:
    gateway.troubles[2] = GatewayError("The broker did not answer in time.")
    body = read(viewer, "/clients/")
    assert "Broker 2 cannot be asked" in body
    assert body.count('<tr id="client-') == 2


def test_when_no_broker_answers_the_page_says_so(viewer: Client, gateway: FakeGateway) -> None:
    gateway.trouble = GatewayError("The broker cannot be reached: refused")
    for url in ("/clients/", "/clients/metrics/", "/clients/abc/"):
        assert "The broker cannot be reached: refused" in read(viewer, url)
    assert viewer.get("/clients/", headers={"X-Ottla-Poll": "1"}).status_code == 503


def test_a_client_has_a_page_that_outlives_its_connections(viewer: Client, gateway: FakeGateway) -> None:
    url = f"/clients/{key_of(gateway, 'shop <1>')}/"
    body = read(viewer, url)
    assert body.count('<tr id="connection-') == 2
    gateway.entries = {1: []}
    assert "It is not connected any more." in viewer.get(url, headers={"X-Ottla-Poll": "1"}).content.decode()
    assert "no connection any more" in read(viewer, url, 404)


def test_the_polls_answer_with_the_parts_alone(viewer: Client) -> None:
    for url, part in (("/clients/", "clients-part"), ("/clients/metrics/", "metrics-part")):
        body = viewer.get(url, headers={"X-Ottla-Poll": "1"}).content.decode()
        assert body.lstrip().startswith(f'<div id="{part}"')


def test_a_client_is_disconnected_from_every_broker(operator: Client, gateway: FakeGateway) -> None:
    url = f"/clients/{key_of(gateway, 'shop <1>')}/disconnect"
    assert "End 2 connections?" in read(operator, url)
    body = operator.post(url, follow=True).content.decode()
    assert gateway.ended == [(1, 1), (2, 7)]
    assert "2 connections of shop &lt;1&gt; ended." in body
    assert AuditEntry.objects.get().action == "disconnect client"


def test_one_connection_is_ended_and_a_refusal_is_told(operator: Client, gateway: FakeGateway) -> None:
    url = f"/clients/{key_of(gateway, 'shop <1>')}/disconnect?broker=2&connection=7"
    assert "End 1 connection?" in read(operator, url)
    gateway.refusals[7] = GatewayError("It does not want to.", code=ErrorCode.INVALID_REQUEST)
    assert "It does not want to." in operator.post(url, follow=True).content.decode()
    assert AuditEntry.objects.get().outcome == "refused"


def test_a_connection_that_has_gone_by_itself_counts_as_ended(operator: Client, gateway: FakeGateway) -> None:
    gateway.refusals[2] = GatewayError("There is no connection 2.", code=ErrorCode.RESOURCE_NOT_FOUND)
    answer = operator.post(f"/clients/{key_of(gateway, 'idle')}/disconnect", follow=True)
    assert "1 connection of idle ended." in answer.content.decode()


def test_who_may_not_disconnect_sees_why(viewer: Client, gateway: FakeGateway) -> None:
    url = f"/clients/{key_of(gateway, 'idle')}/disconnect"
    assert "Your account may look at clients but not disconnect them." in read(viewer, url)
    assert viewer.post(url).status_code == 403
    assert gateway.ended == []


def test_what_clients_push_is_listed_and_shown(viewer: Client) -> None:
    body = read(viewer, "/clients/metrics/")
    assert "1 subscription; 1 client knows of it." in body
    assert "10 s" in body
    shown = read(viewer, "/clients/metrics/1/00010203-0405-0607-0809-0a0b0c0d0e0f/")
    assert "12.34 ms" in shown or "12.3 ms" in shown
    assert "2 KiB" in shown
    assert "producer.<wbr>rtt &lt;avg&gt;" in shown
    assert read(viewer, "/clients/metrics/1/ffffffff-0405-0607-0809-0a0b0c0d0e0f/", 404)


def test_clients_are_asked_for_metrics_from_the_page(operator: Client, gateway: FakeGateway) -> None:
    operator.post(
        "/clients/metrics/change",
        {"name": "slow", "metrics": "org.apache.kafka.producer", "interval": "30 s", "match": "client_id=shop.*"},
    )
    assert gateway.subscriptions["slow"] == {
        "metrics": "org.apache.kafka.producer",
        "interval.ms": "30000",
        "match": "client_id=shop.*",
    }
    operator.post("/clients/metrics/change", {"name": "slow", "remove": "1"})
    assert gateway.subscriptions["slow"] == {}
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == [
        "ask for client metrics",
        "remove metrics subscription",
    ]


def test_what_is_wrong_with_a_subscription_is_said(operator: Client) -> None:
    wrong = {"name": "slow", "metrics": "*", "interval": "soon"}
    assert "Write a time such as" in operator.post("/clients/metrics/change", wrong).content.decode()


def test_who_may_not_ask_is_refused(viewer: Client) -> None:
    assert viewer.post("/clients/metrics/change", {"name": "x"}).status_code == 403
