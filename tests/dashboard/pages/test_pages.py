"""Every page renders from the snapshot, for any signed-in user and for nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from broker.client.results import ConfigEntry, ConfigSynonym, ProducerDescription
from dashboard import gateway as gateway_module
from dashboard.pages.groups import views as group_views
from dashboard.pages.topics import tabs, views
from dashboard.transactions import producers
from tests.dashboard.samples import START_MS, Bench, group, member, offset, partition, sample, topic

pytestmark = pytest.mark.django_db


class FakeGateway:
    """A cluster with one topic called orders."""

    trouble: gateway_module.GatewayError | None = None

    def topic_exists(self, name: str) -> bool:
        return name == "orders"

    def group_exists(self, name: str) -> bool:
        return name == "just-joined"

    def topic_configs(self, name: str) -> list[ConfigEntry]:
        if self.trouble is not None:
            raise self.trouble
        return [
            ConfigEntry(
                name="retention.ms",
                value="86400000",
                source="DYNAMIC_TOPIC_CONFIG",
                is_default=False,
                type="LONG",
                documentation="How long records are kept.",
                read_only=False,
                sensitive=False,
                synonyms=(ConfigSynonym(name="retention.ms", value="86400000", source="DYNAMIC_TOPIC_CONFIG"),),
            ),
            ConfigEntry(
                name="segment.bytes",
                value="1073741824",
                source="DEFAULT_CONFIG",
                is_default=True,
                type="INT",
                documentation="Size of a segment.",
                read_only=False,
                sensitive=False,
                synonyms=(),
            ),
        ]

    def producers(self, name: str) -> list[ProducerDescription]:
        return [
            ProducerDescription(
                partition=0,
                producer_id=4711,
                producer_epoch=2,
                last_sequence=99,
                last_timestamp_ms=START_MS,
                coordinator_epoch=-1,
                transaction_start_offset=-1,
            )
        ]


@pytest.fixture(autouse=True)
def fake_gateway(monkeypatch: pytest.MonkeyPatch) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(tabs, "gateway", lambda: fake)
    monkeypatch.setattr(producers, "gateway", lambda: fake)
    monkeypatch.setattr(views, "gateway", lambda: fake)
    monkeypatch.setattr(group_views, "gateway", lambda: fake)
    return fake


@pytest.fixture
def cluster(at_bench_time: Bench) -> Bench:
    """Two topics, a group that keeps up and one that nobody reads for."""
    bench = at_bench_time
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders", 2), topic("invoices"), topic("__consumer_offsets", internal=True)],
            partitions=[
                partition("orders", 0, records=1000, last_record_ms=START_MS - 3000),
                partition("orders", 1, records=500),
                partition("invoices", 0, records=12_345),
                partition("__consumer_offsets"),
            ],
            groups=[
                group(
                    "billing",
                    members=(member("worker", ("orders", 0), ("orders", 1)),),
                    offsets=(
                        offset("orders", 0, 900, record_timestamp_ms=START_MS - 30_000),
                        offset("orders", 1, 500),
                    ),
                ),
                group("audit", offsets=(offset("invoices", 0, 345, record_timestamp_ms=START_MS - 7_200_000),)),
            ],
        )
    )
    bench.step()
    return bench


ADDRESSES = ["/", "/topics/", "/topics/orders/", "/groups/", "/groups/billing/", "/palette.json"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_who_is_not_signed_in_is_sent_to_the_login(client: Client, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login/")


@pytest.mark.parametrize("address", ADDRESSES)
def test_any_signed_in_user_may_read(viewer: Client, cluster: Bench, address: str) -> None:
    assert viewer.get(address).status_code == 200


@pytest.mark.parametrize("address", ADDRESSES)
def test_pages_are_for_reading_only(viewer: Client, address: str) -> None:
    assert viewer.post(address).status_code == 405


@pytest.mark.parametrize("address", ADDRESSES[:5])
def test_a_page_without_any_sample_says_what_it_waits_for(viewer: Client, live_memory: Any, address: str) -> None:
    body = viewer.get(address).content.decode()
    assert "Waiting for the first sample" in body


@pytest.mark.parametrize("address", ADDRESSES[:5])
def test_pages_have_no_inline_script_and_no_inline_style(viewer: Client, cluster: Bench, address: str) -> None:
    page = viewer.get(address).content.decode()
    body = page[page.index('id="ot-page"') :]
    assert " style=" not in body[: body.index("ot-live-config")]
    assert "onclick" not in page
    assert "<script>" not in page


def test_the_overview_opens_with_one_sentence(viewer: Client, cluster: Bench) -> None:
    body = viewer.get("/").content.decode()
    assert "1 broker, all 4 partitions in sync, 1 group without readers: audit." in body


def test_the_topic_list_shows_a_topic_in_one_row(viewer: Client, cluster: Bench) -> None:
    body = viewer.get("/topics/").content.decode()
    assert "orders" in body
    assert "1,500" in body
    assert "/groups/billing/" in body
    assert "__consumer_offsets" not in body
    assert "__consumer_offsets" in viewer.get("/topics/?internal=1").content.decode()


def test_a_filter_without_a_match_offers_to_be_cleared(viewer: Client, cluster: Bench) -> None:
    body = viewer.get("/topics/?q=nothing-like-it").content.decode()
    assert "No topic matches" in body
    assert "Clear the filter" in body


def test_a_group_page_shows_members_offsets_and_lag_in_words(viewer: Client, cluster: Bench) -> None:
    body = viewer.get("/groups/billing/").content.decode()
    assert "Stable" in body
    assert "10.0.0.7" in body
    assert "orders" in body
    assert "PreparingRebalance" not in body


def test_a_group_without_members_says_that_records_wait(viewer: Client, cluster: Bench) -> None:
    body = viewer.get("/groups/audit/").content.decode()
    assert "No members; 12,000 records wait to be read." in body
    assert "No members" in body


def test_an_unknown_group_is_not_found(viewer: Client, cluster: Bench) -> None:
    answer = viewer.get("/groups/nobody/")
    assert answer.status_code == 404
    assert "There is no group called nobody." in answer.content.decode()


def test_a_group_that_has_just_appeared_is_awaited(viewer: Client, cluster: Bench) -> None:
    assert viewer.get("/groups/just-joined/").status_code == 200


def test_an_unknown_topic_is_not_found(viewer: Client, cluster: Bench) -> None:
    answer = viewer.get("/topics/nothing/")
    assert answer.status_code == 404
    assert "There is no topic called nothing." in answer.content.decode()


def test_a_topic_the_collector_has_not_seen_yet_is_awaited(viewer: Client, live_memory: Any) -> None:
    assert viewer.get("/topics/orders/").status_code == 200


def test_configuration_tells_value_and_origin(viewer: Client, cluster: Bench) -> None:
    body = viewer.get("/topics/orders/?tab=configuration").content.decode()
    assert "1 d" in body
    assert "set on this topic" in body
    assert "1 GiB" in body
    assert "default" in body


def test_configuration_can_be_cut_down_to_what_was_set(viewer: Client, cluster: Bench) -> None:
    body = viewer.get("/topics/orders/?tab=configuration&changed=1").content.decode()
    assert "retention.ms" in body
    assert "segment.bytes" not in body


def test_a_broker_that_does_not_answer_is_said_in_the_tab(
    viewer: Client, cluster: Bench, fake_gateway: FakeGateway
) -> None:
    fake_gateway.trouble = gateway_module.GatewayError("The broker did not answer in time.")
    answer = viewer.get("/topics/orders/?tab=configuration")
    assert answer.status_code == 200
    assert "The broker did not answer in time." in answer.content.decode()


def test_producers_are_listed(viewer: Client, cluster: Bench) -> None:
    assert "4711" in viewer.get("/topics/orders/?tab=producers").content.decode()


def test_an_unknown_tab_is_not_found(viewer: Client, cluster: Bench) -> None:
    assert viewer.get("/topics/orders/?tab=nonsense").status_code == 404


def test_names_are_escaped_wherever_they_appear(viewer: Client, at_bench_time: Bench) -> None:
    bench = at_bench_time
    name = "<script>alert(1)</script>"
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders")],
            partitions=[partition("orders")],
            groups=[group(name, members=(member(name, ("orders", 0)),), offsets=(offset("orders", 0, 0),))],
        )
    )
    bench.step()
    for address in ("/", "/groups/", "/topics/orders/?tab=groups"):
        assert "<script>alert" not in viewer.get(address).content.decode()


def test_the_palette_knows_pages_topics_and_groups(viewer: Client, cluster: Bench) -> None:
    items = viewer.get("/palette.json").json()["items"]
    found = {(item["kind"], item["title"]) for item in items}
    assert {("Page", "Overview"), ("Topic", "orders"), ("Group", "billing")} <= found
    assert ("Page", "Administration") not in found


def test_when_the_store_is_down_the_page_says_so(viewer: Client, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = viewer.get("/")
    assert answer.status_code == 200
    assert "Live data is not available" in answer.content.decode()


def test_the_sidebar_is_there_for_everybody_and_the_administration_only_for_staff(
    viewer: Client, admin_client: Client, cluster: Bench
) -> None:
    for_viewer, for_admin = (client.get("/").content.decode() for client in (viewer, admin_client))
    for body in (for_viewer, for_admin):
        for address in ("/topics/", "/groups/"):
            assert f'href="{address}"' in body
        assert "Log out" in body
    assert "/admin/" not in for_viewer
    assert "/admin/auth/user/" in for_admin


def test_an_address_longer_than_the_socket_takes_still_works(viewer: Client, cluster: Bench) -> None:
    assert viewer.get("/topics/", {"q": "x" * 5000}).status_code == 200


def test_a_silent_collector_is_said(viewer: Client, cluster: Bench) -> None:
    cluster.now_ms += 60_000
    assert "The collector is silent since" in viewer.get("/").content.decode()


def test_a_page_about_a_silent_broker_does_not_claim_that_all_is_well(viewer: Client, cluster: Bench) -> None:
    cluster.model.silent(1, since_ms=START_MS, trouble="refused")
    cluster.step(now_ms=cluster.now_ms + 6_000)  # Details nobody watches are written late.
    assert "No broker answers; 2 topics known from before." in viewer.get("/topics/").content.decode()
    assert "No broker answers; 2 groups known from before." in viewer.get("/groups/").content.decode()
    assert "Broker 1 does not answer" in viewer.get("/topics/orders/").content.decode()
    assert "Its coordinator does not answer" in viewer.get("/groups/billing/").content.decode()
