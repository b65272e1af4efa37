"""One retention run from claim to finished row, with a broker that does what the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection
from django.test.utils import CaptureQueriesContext

from broker.client.errors import ClientConnectionError
from broker.errors import ErrorCode, KafkaError
from broker.jobs import brokers, retention, runs
from broker.models import JobRun
from broker.protocol.private import (
    PartitionInventory,
    RetentionAction,
    RetentionOutcome,
    SegmentInfo,
    SegmentInventoryResponse,
)

pytestmark = pytest.mark.django_db

NOW_MS = 1_700_000_000_000


class FakeClient:
    """``partitions`` partitions with one expired segment each; ``before_apply`` runs before every step."""

    def __init__(self, partitions: int = 1) -> None:
        self.partitions = partitions
        self.steps: list[int] = []
        self.topics: list[str] = []
        self.before_apply: Callable[[], None] = lambda: None
        self.closed = False

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed = True

    def segment_inventory(self, topics: Sequence[str]) -> SegmentInventoryResponse:
        self.topics = list(topics)
        return SegmentInventoryResponse(
            broker_id=1, sampled_at_ms=NOW_MS, partitions=[self._partition(i) for i in range(self.partitions)]
        )

    def apply_retention(self, actions: Sequence[RetentionAction]) -> list[RetentionOutcome]:
        self.before_apply()
        self.steps.append(len(actions))
        return [
            RetentionOutcome(
                topic=action.topic,
                partition=action.partition,
                deleted_segments=1,
                deleted_bytes=100,
                log_start_offset=action.new_log_start_offset,
            )
            for action in actions
        ]

    @staticmethod
    def _partition(index: int) -> PartitionInventory:
        old = SegmentInfo(
            base_offset=0, end_offset=10, size_bytes=100, max_timestamp_ms=0, last_modified_ms=0, active=False
        )
        return PartitionInventory(
            topic="orders",
            partition=index,
            log_start_offset=0,
            high_watermark=10,
            log_end_offset=10,
            retention_ms=1,
            retention_bytes=-1,
            cleanup_policy="delete",
            segments=[old],
        )


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    client = FakeClient()
    monkeypatch.setattr(brokers, "open_client", lambda broker_id: client)
    return client


def claimed(topic: str = "") -> JobRun:
    job = runs.claim(runs.queue(JobRun.Kind.RETENTION, 1, topic=topic).pk)
    assert job is not None
    return job


def test_a_run_ends_with_what_it_did(client: FakeClient) -> None:
    job = retention.run(claimed())
    assert job.state == JobRun.State.SUCCEEDED
    assert (job.segments_deleted, job.bytes_freed, job.progress_done, job.progress_total) == (1, 100, 1, 1)
    assert job.detail["deleted"] == {
        "count": 1,
        "rows": [
            {
                "topic": "orders",
                "partition": 0,
                "reason": "retention.ms",
                "segments": 1,
                "bytes": 100,
                "log_start_offset": 10,
            }
        ],
    }
    assert job.detail["refused"]["count"] == 0
    assert job.finished_at is not None
    assert client.closed


def test_a_run_of_one_topic_asks_for_that_topic_only(client: FakeClient) -> None:
    retention.run(claimed("orders"))
    assert client.topics == ["orders"]


def test_a_large_plan_goes_in_steps(client: FakeClient) -> None:
    client.partitions = 120
    job = retention.run(claimed())
    assert client.steps == [50, 50, 20]
    assert (job.progress_done, job.progress_total, job.segments_deleted) == (120, 120, 120)
    assert len(job.detail["deleted"]["rows"]) == runs.DETAIL_ROWS_MAX


def test_a_run_stops_between_two_steps_when_asked_and_tells_what_it_had_done(client: FakeClient) -> None:
    client.partitions = 120
    job = claimed()
    client.before_apply = lambda: runs.cancel(job.pk) and None
    job = retention.run(job)
    assert job.state == JobRun.State.CANCELLED
    assert (job.segments_deleted, job.progress_done, job.progress_total) == (50, 50, 120)


def test_a_broker_that_cannot_be_reached_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(broker_id: int) -> FakeClient:
        raise ClientConnectionError("cannot connect to 127.0.0.1:1")

    monkeypatch.setattr(brokers, "open_client", nobody)
    job = retention.run(claimed())
    assert (job.state, job.error) == (JobRun.State.FAILED, "cannot connect to 127.0.0.1:1")


def test_a_broker_lost_half_way_fails_the_run_and_keeps_the_count(client: FakeClient) -> None:
    client.partitions = 120

    def lose() -> None:
        if client.steps:
            raise ClientConnectionError("connection lost")

    client.before_apply = lose
    job = retention.run(claimed())
    assert (job.state, job.segments_deleted, job.bytes_freed) == (JobRun.State.FAILED, 50, 5_000)


def test_a_refusal_of_the_broker_fails_the_run(client: FakeClient) -> None:
    def refuse() -> None:
        raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "the disk is gone")

    client.before_apply = refuse
    assert retention.run(claimed()).error == "the disk is gone"


def test_the_time_limit_ends_the_run_and_is_passed_on(client: FakeClient) -> None:
    def too_long() -> None:
        raise SoftTimeLimitExceeded

    client.before_apply = too_long
    job = claimed()
    with pytest.raises(SoftTimeLimitExceeded):
        retention.run(job)
    job.refresh_from_db()
    assert job.state == JobRun.State.FAILED
    assert "too long" in job.error


def test_an_idle_run_costs_few_queries(client: FakeClient) -> None:
    client.partitions = 0
    job = claimed()
    with CaptureQueriesContext(connection) as queries:
        retention.run(job)
    assert len(queries) <= 4
