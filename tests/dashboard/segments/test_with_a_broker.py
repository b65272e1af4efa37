"""The segments tab against a real broker's files."""

from __future__ import annotations

import itertools

import pytest
from django.test import Client

from broker.client.blocking import Client as KafkaClient
from dashboard.gateway import GatewayError, gateway

pytestmark = pytest.mark.django_db
_numbers = itertools.count(1)
DAY_MS = 86_400_000


@pytest.fixture
def topic(cluster: KafkaClient) -> str:
    """Two partitions; the first keeps three records of about a megabyte, so that segments roll."""
    name = f"segments-{next(_numbers)}"
    cluster.create_topic(name, 2, 1, {"segment.bytes": str(2**20), "retention.ms": str(7 * DAY_MS)})
    for _ in range(3):
        cluster.produce(name, None, bytes(900_000), partition=0)
    return name


def test_segments_of_a_real_log_are_shown_with_what_will_delete_them(admin_client: Client, topic: str) -> None:
    inventory, now_ms, leader = gateway().segments(topic, 0)
    assert [(one.base_offset, one.end_offset, one.active) for one in inventory.segments] == [
        (0, 1, False),
        (1, 2, False),
        (2, 3, True),
    ]
    assert all(0 <= now_ms - one.first_timestamp_ms < 60_000 for one in inventory.segments)
    assert (inventory.last_stable_offset, inventory.segment_bytes, leader) == (3, 2**20, 1)
    for axis in ("offset", "time"):
        body = admin_client.get(f"/topics/{topic}/?tab=segments&axis={axis}").content.decode()
        assert body.count('<tr id="segment-') == 3
        assert "by age" in body


def test_another_partition_and_one_that_does_not_exist(admin_client: Client, topic: str) -> None:
    assert (
        "This partition keeps no records"
        in admin_client.get(f"/topics/{topic}/?tab=segments&partition=1").content.decode()
    )
    with pytest.raises(GatewayError, match="has no partition 9"):
        gateway().segments(topic, 9)


def test_a_compacted_log_is_shown_as_such(admin_client: Client, cluster: KafkaClient, topic: str) -> None:
    cluster.alter_topic_configs(topic, {"cleanup.policy": "compact"})
    body = admin_client.get(f"/topics/{topic}/?tab=segments").content.decode()
    assert "The topic is compacted" in body
    assert "Not compacted since the broker started." in body
