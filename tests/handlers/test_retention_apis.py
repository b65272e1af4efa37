"""SegmentInventory and ApplyRetention: the broker has the last word on every deletion."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.handlers import apply_retention, segment_inventory
from broker.handlers.context import Request, Services
from broker.protocol.private import (
    ApplyRetentionRequest,
    RetentionAction,
    RetentionOutcome,
    SegmentInfo,
    SegmentInventoryRequest,
)
from broker.retention.plan import plan
from broker.types import TopicPartition

REQUEST = cast(Request, SimpleNamespace())
HOUR_MS = 3_600_000


class FakeLog:
    """Segments of ten records each; deleting takes whole closed segments from the front."""

    def __init__(self, ages_ms: Iterable[int], now_ms: int, config: TopicConfig) -> None:
        ages = list(ages_ms)
        self.config = config
        self.log_start_offset = 0
        self.log_end_offset = 10 * len(ages)
        self.deleted_below: list[int] = []
        self._segments = [
            SegmentInfo(
                base_offset=10 * index,
                end_offset=10 * index + 10,
                size_bytes=100,
                max_timestamp_ms=now_ms - age,
                last_modified_ms=now_ms,
                active=index == len(ages) - 1,
            )
            for index, age in enumerate(ages)
        ]

    def segments(self, *, first_timestamps: bool = False) -> list[SegmentInfo]:
        first_ms = 7 if first_timestamps else -1
        return [msgspec.structs.replace(segment, first_timestamp_ms=first_ms) for segment in self._segments]

    def delete_segments_below(self, offset: int) -> tuple[int, int]:
        self.deleted_below.append(offset)
        gone = [segment for segment in self._segments if segment.end_offset <= offset]
        self._segments = self._segments[len(gone) :]
        self.log_start_offset = max(self.log_start_offset, offset)
        return len(gone), sum(segment.size_bytes for segment in gone)


class FakePartition:
    def __init__(self, name: str, log: FakeLog) -> None:
        self.topic_partition = TopicPartition(name, 0)
        self.log = log
        self.state = SimpleNamespace(is_leader=True)
        self.high_watermark = log.log_end_offset
        self.last_stable_offset = log.log_end_offset
        self.woken = 0

    def wake_fetch_waiters(self) -> None:
        self.woken += 1


class FakeManager:
    def __init__(self) -> None:
        self.held: dict[str, FakePartition] = {}

    def partitions(self) -> Iterable[FakePartition]:
        return self.held.values()

    def get(self, topic: str, partition: int) -> FakePartition:
        if topic not in self.held or partition != 0:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return self.held[topic]


class Broker:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.manager = FakeManager()
        self.services = cast(Services, SimpleNamespace(node_id=1, clock=self.clock, partitions=self.manager))

    def add(self, name: str, *ages_ms: int, **configs: str) -> FakePartition:
        config = TopicConfig.resolve({key.replace("_", "."): value for key, value in configs.items()})
        self.manager.held[name] = FakePartition(name, FakeLog(ages_ms, self.clock.wall_ms(), config))
        return self.manager.held[name]

    async def inventory(self, *topics: str) -> Any:
        request = SegmentInventoryRequest(topics=list(topics))
        return await segment_inventory.handle_private(REQUEST, request, self.services)

    async def apply(self, *actions: RetentionAction) -> list[RetentionOutcome]:
        response = await apply_retention.handle_private(
            REQUEST, ApplyRetentionRequest(actions=list(actions)), self.services
        )
        assert response.error_code == 0
        return response.outcomes


@pytest.fixture
def broker() -> Broker:
    return Broker()


def until(offset: int, topic: str = "orders", partition: int = 0) -> RetentionAction:
    return RetentionAction(topic=topic, partition=partition, new_log_start_offset=offset, reason="retention.ms")


async def test_the_inventory_names_limits_and_segments(broker: Broker) -> None:
    broker.add("orders", 2 * HOUR_MS, 0, retention_ms="3600000", retention_bytes="500")
    response = await broker.inventory()
    assert (response.broker_id, response.sampled_at_ms) == (1, broker.clock.wall_ms())
    (partition,) = response.partitions
    assert (partition.retention_ms, partition.retention_bytes, partition.cleanup_policy) == (3_600_000, 500, "delete")
    assert (partition.log_start_offset, partition.high_watermark, partition.log_end_offset) == (0, 20, 20)
    assert [(s.base_offset, s.end_offset, s.active) for s in partition.segments] == [(0, 10, False), (10, 20, True)]


async def test_details_are_told_only_to_who_asks_for_them(broker: Broker) -> None:
    broker.add("orders", 0, segment_bytes="2097152", segment_ms="3600000")
    for details, expected in ((False, (-1, -1, -1)), (True, (7, 2_097_152, 3_600_000))):
        request = SegmentInventoryRequest(topics=["orders"], details=details)
        (partition,) = (await segment_inventory.handle_private(REQUEST, request, broker.services)).partitions
        told = (partition.segments[0].first_timestamp_ms, partition.segment_bytes, partition.segment_ms)
        assert told == expected


async def test_the_inventory_can_be_limited_to_partitions(broker: Broker) -> None:
    broker.add("orders", 0)
    request = SegmentInventoryRequest(topics=["orders"], partitions=[1])
    assert (await segment_inventory.handle_private(REQUEST, request, broker.services)).partitions == []


async def test_the_inventory_can_be_limited_to_topics_and_leaves_out_what_is_led_elsewhere(broker: Broker) -> None:
    broker.add("orders", 0)
    broker.add("other", 0)
    broker.add("elsewhere", 0).state.is_leader = False
    assert [p.topic for p in (await broker.inventory()).partitions] == ["orders", "other"]
    assert [p.topic for p in (await broker.inventory("other")).partitions] == ["other"]


async def test_a_plan_is_carried_out(broker: Broker) -> None:
    partition = broker.add("orders", 3 * HOUR_MS, 2 * HOUR_MS, 0, retention_ms="3600000")
    inventory = await broker.inventory()
    deletions = plan(inventory.partitions, inventory.sampled_at_ms)
    assert await broker.apply(*(deletion.action() for deletion in deletions)) == [
        RetentionOutcome(topic="orders", partition=0, deleted_segments=2, deleted_bytes=200, log_start_offset=20)
    ]
    assert partition.woken == 1


async def test_applying_twice_deletes_once(broker: Broker) -> None:
    partition = broker.add("orders", 3 * HOUR_MS, 2 * HOUR_MS, 0, retention_ms="3600000")
    first, second = await broker.apply(until(20), until(20))
    assert (first.deleted_segments, second.deleted_segments) == (2, 0)
    assert second.error_code == 0
    assert partition.log.deleted_below == [20]


async def test_a_plan_made_before_retention_was_raised_deletes_nothing_and_says_why(broker: Broker) -> None:
    partition = broker.add("orders", 3 * HOUR_MS, 0, retention_ms="3600000")
    partition.log.config = TopicConfig.resolve({"retention.ms": "-1"})
    (outcome,) = await broker.apply(until(10))
    assert outcome.deleted_segments == 0
    assert "out of date" in outcome.error_message
    assert partition.log.deleted_below == []


async def test_a_plan_that_asks_for_too_much_gets_what_is_due(broker: Broker) -> None:
    broker.add("orders", 3 * HOUR_MS, 0, 0, retention_ms="3600000")
    (outcome,) = await broker.apply(until(30))
    assert (outcome.deleted_segments, outcome.log_start_offset) == (1, 10)
    assert "up to offset 10, not 30" in outcome.error_message


async def test_a_segment_whose_records_were_all_deleted_by_a_client_goes_as_well(broker: Broker) -> None:
    partition = broker.add("orders", 3 * HOUR_MS, 0, retention_ms="3600000")
    partition.log.log_start_offset = 10
    (outcome,) = await broker.apply(until(10))
    assert (outcome.deleted_segments, outcome.log_start_offset) == (1, 10)


async def test_nothing_past_the_high_watermark_goes(broker: Broker) -> None:
    partition = broker.add("orders", 3 * HOUR_MS, 3 * HOUR_MS, 3 * HOUR_MS, retention_ms="1")
    partition.high_watermark = 15
    (outcome,) = await broker.apply(until(30))
    assert outcome.log_start_offset == 10


async def test_a_compacted_topic_is_never_cut(broker: Broker) -> None:
    broker.add("orders", 3 * HOUR_MS, 0, retention_ms="1", cleanup_policy="compact")
    (outcome,) = await broker.apply(until(10))
    assert outcome.deleted_segments == 0


async def test_a_topic_that_is_gone_fails_alone(broker: Broker) -> None:
    broker.add("orders", 3 * HOUR_MS, 0, retention_ms="3600000")
    gone, done = await broker.apply(until(10, "gone"), until(10))
    assert gone.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert gone.error_message
    assert done.deleted_segments == 1


async def test_a_partition_led_elsewhere_is_not_touched(broker: Broker) -> None:
    partition = broker.add("orders", 3 * HOUR_MS, 0, retention_ms="1")
    partition.state.is_leader = False
    (outcome,) = await broker.apply(until(10))
    assert outcome.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert partition.log.deleted_below == []


@pytest.mark.parametrize("offset", [-1, 0])
async def test_an_absurd_offset_deletes_nothing(broker: Broker, offset: int) -> None:
    partition = broker.add("orders", 3 * HOUR_MS, 0, retention_ms="1")
    (outcome,) = await broker.apply(until(offset))
    assert (outcome.deleted_segments, partition.log.deleted_below) == (0, [])


async def test_a_request_with_too_many_actions_is_refused_whole(broker: Broker) -> None:
    partition = broker.add("orders", 3 * HOUR_MS, 0, retention_ms="1")
    request = ApplyRetentionRequest(actions=[until(10)] * (apply_retention.ACTIONS_MAX + 1))
    response = await apply_retention.handle_private(REQUEST, request, broker.services)
    assert response.error_code == ErrorCode.INVALID_REQUEST
    assert partition.log.deleted_below == []
