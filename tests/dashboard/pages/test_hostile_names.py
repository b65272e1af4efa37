"""Groups may be called anything and members may claim anything: every page still renders, and links lead back."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client

from dashboard.pages.addresses import group_address
from tests.dashboard.pages.test_pages import fake_gateway  # noqa: F401  (used by name)
from tests.dashboard.samples import Bench, group, member, offset, partition, sample, topic

pytestmark = pytest.mark.django_db

NAMES = [
    "",
    " ",
    ".",
    "..",
    "a/../b",
    "a/b",
    "/a/",
    "line\nbreak",
    "tab\t",
    "?id=x#y",
    "100%41",
    "<script>alert(1)</script>",
    "'\"&",
    "by-id",
    "x" * 1_500,
    "\u202egnp.exe",
    "名前",
    "\x00",
]
TOPIC = "no/such\ntopic<i>"


@pytest.fixture
def cluster(at_bench_time: Bench) -> Bench:
    bench = at_bench_time
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders")],
            partitions=[partition("orders", records=9)],
            groups=[
                group(
                    name,
                    members=(member(name, ("orders", 0), (TOPIC, 3)),),
                    offsets=(offset("orders", 0, 1), offset(TOPIC, 1, 5)),
                )
                for name in NAMES
            ],
        )
    )
    bench.step()
    return bench


@pytest.mark.usefixtures("fake_gateway")
@pytest.mark.parametrize("address", ["/", "/groups/", "/topics/", "/topics/orders/?tab=groups", "/palette.json"])
def test_lists_render(viewer: Client, cluster: Bench, address: str) -> None:
    answer = viewer.get(address)
    assert answer.status_code == 200
    if not address.endswith(".json"):
        assert "<script>alert" not in answer.content.decode()
        assert "<i>" not in answer.content.decode()


@pytest.mark.usefixtures("fake_gateway")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_the_link_to_a_group_leads_to_that_group(viewer: Client, cluster: Bench, name: str) -> None:
    answer = viewer.get(group_address(name))
    assert answer.status_code == 200
    body = answer.content.decode()
    assert "8 records wait" in body
    assert "<i>" not in body


@pytest.mark.usefixtures("fake_gateway")
def test_every_link_of_the_group_list_can_be_followed(viewer: Client, cluster: Bench) -> None:
    body = viewer.get("/groups/").content.decode()
    links = [html.unescape(link) for link in re.findall(r'class="ot-rowlink" href="([^"]*)"', body)]
    assert len(links) == len(NAMES)
    for link in links:
        assert viewer.get(link).status_code == 200, link


def test_a_name_too_long_for_the_socket_gets_no_pushes_but_a_page(viewer: Client, cluster: Bench) -> None:
    answer: Any = viewer.get(group_address("x" * 1_500))
    assert answer.context["live_config"]["page"] == "shell"
