"""What the pages say of a group of the new protocol, in words."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from dashboard.gateway import GatewayError
from dashboard.pages.groups import views
from tests.dashboard.samples import Bench, group, member, partition, sample, topic

pytestmark = pytest.mark.django_db


class NoGateway:
    def group_exists(self, name: str) -> bool:
        raise GatewayError("nobody is asked here")


@pytest.fixture
def page(viewer: Client, at_bench_time: Bench, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The group's page and its row in the list, for members given as samples."""
    monkeypatch.setattr(views, "gateway", NoGateway)

    def show(*members: Any, **values: Any) -> tuple[str, str]:
        defaults: dict[str, Any] = {
            "type": "consumer",
            "state": "Stable",
            "protocol": "uniform",
            "generation": 7,
            "assignment_epoch": 7,
        }
        at_bench_time.feed(
            sample(
                1,
                full=True,
                topics=[topic("orders", 4)],
                partitions=[partition("orders", number) for number in range(4)],
                groups=[group("readers", members=members, **{**defaults, **values})],
            )
        )
        at_bench_time.step()
        return viewer.get("/groups/readers/").content.decode(), viewer.get("/groups/").content.decode()

    return show


def test_type_assignor_and_epochs_are_said_in_words(page: Any) -> None:
    body, listed = page(
        member("worker", ("orders", 0), epoch=7, state="Stable", target=[("orders", 0)], protocol="consumer")
    )
    assert "new (KIP-848) protocol" in body
    assert "uniform assignor of the broker" in body
    assert "group epoch 7" in body
    assert "New (KIP-848)" in listed
    for raw in ("UnrevokedPartitions", "Reconciling", ">consumer<"):
        assert raw not in body


def test_a_member_on_its_way_shows_what_it_is_to_have_and_to_give_up(page: Any) -> None:
    moving = member(
        "worker",
        ("orders", 0),
        ("orders", 1),
        epoch=6,
        state="UnrevokedPartitions",
        target=[("orders", 1), ("orders", 2), ("orders", 3)],
        revoking=[("orders", 0)],
        protocol="consumer",
    )
    body, _ = page(moving, state="Reconciling")
    assert "is to have orders 2–3" in body
    assert "gives up orders 0" in body
    assert "epoch 6" in body
    assert "of 7</span>" in body
    assert ", gives up partitions" in body


def test_subscriptions_static_ids_and_classic_members_are_told(page: Any) -> None:
    body, _ = page(
        member("by-name", epoch=7, topics=["orders", "payments"], instance_id="pod-1", protocol="consumer"),
        member("by-pattern", epoch=7, topic_regex="^or<.*>", protocol="consumer", rack="az-1"),
        member("old", epoch=7, protocol="classic"),
        member("away", epoch=-2, instance_id="pod-2", protocol="consumer"),
    )
    assert "subscribed to orders, payments" in body
    assert "<code>^or&lt;.*&gt;</code>" in body
    assert "rack az-1" in body
    assert "pod-1" in body
    assert "classic member" in body
    assert "away for now" in body


def test_targets_that_are_due_are_said(page: Any) -> None:
    body, _ = page(member("worker", epoch=6, protocol="consumer"), assignment_epoch=6, state="Assigning")
    assert "targets of epoch 6" in body


def test_a_group_of_offsets_alone_has_no_generation(page: Any) -> None:
    body, listed = page(type="classic", generation=-1, assignment_epoch=-1, protocol="", state="Empty")
    assert "classic protocol" in body
    assert "generation -1" not in body
    assert "Classic" in listed
