"""GetTelemetrySubscriptions, PushTelemetry and what the operator sees of them."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import cramjam
import pytest

from broker import limits
from broker.errors import ErrorCode
from broker.handlers import client_metrics, get_telemetry_subscriptions, push_telemetry
from broker.protocol import messages as m
from broker.protocol.private import ClientMetricsRequest
from tests.client_metrics import writer as w
from tests.handlers.admin_stage import Stage, open_stage

DATA = w.metrics_data(w.gauge("g", 1.5))
CODECS = {
    0: lambda data: data,
    1: gzip.compress,
    2: lambda data: bytes(cramjam.snappy.compress_raw(data)),
    3: lambda data: bytes(cramjam.lz4.compress(data)),
    4: lambda data: bytes(cramjam.zstd.compress(data)),
}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(tmp_path, telemetry_max_bytes=100_000) as opened:
        opened.services.client_instances.configure({"all": {"metrics": "*", "interval.ms": "100"}})
        yield opened


async def subscribe(stage: Stage, instance_id: bytes = bytes(16)) -> Any:
    return await stage.ask(
        get_telemetry_subscriptions, m.GetTelemetrySubscriptionsRequest(client_instance_id=instance_id)
    )


async def push(stage: Stage, told: Any, metrics: bytes, codec: int = 0, **fields: Any) -> int:
    values = {"client_instance_id": told.client_instance_id, "subscription_id": told.subscription_id, **fields}
    message = m.PushTelemetryRequest(metrics=metrics, compression_type=codec, **values)
    code: int = (await stage.ask(push_telemetry, message)).error_code
    return code


def seen(stage: Stage, **fields: Any) -> Any:
    return client_metrics.handle_private(None, ClientMetricsRequest(**fields), stage.services)  # type: ignore[arg-type]


async def test_a_client_without_an_id_is_given_one_and_told_what_to_push(stage: Stage) -> None:
    told = await subscribe(stage)
    assert told.client_instance_id != bytes(16)
    assert (told.error_code, told.requested_metrics, told.push_interval) == (0, ["*"], 100)
    assert (told.accepted_compression_types, told.telemetry_max_bytes) == ([4, 3, 1, 2], 100_000)
    assert told.delta_temporality
    other = await subscribe(stage)
    assert other.client_instance_id != told.client_instance_id


@pytest.mark.parametrize("codec", CODECS)
async def test_a_push_is_kept_in_every_codec(stage: Stage, codec: int) -> None:
    told = await subscribe(stage)
    assert await push(stage, told, CODECS[codec](DATA), codec) == 0
    (entry,) = seen(stage).instances
    assert (entry.client_instance_id, entry.client_id, entry.pushes) == (told.client_instance_id, "test", 1)
    assert [(point.name, point.value) for point in entry.points] == [("g", 1.5)]


async def test_refusals_have_their_own_codes(stage: Stage) -> None:
    assert await push(stage, await subscribe(stage), DATA, client_instance_id=bytes(16)) == ErrorCode.INVALID_REQUEST
    one = bytes(15) + b"\x01"
    assert await push(stage, await subscribe(stage), DATA, client_instance_id=one) == ErrorCode.INVALID_REQUEST
    assert await push(stage, await subscribe(stage), DATA, subscription_id=1) == ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    assert await push(stage, await subscribe(stage), DATA, 5) == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    assert await push(stage, await subscribe(stage), b"\0" * 100_001) == ErrorCode.TELEMETRY_TOO_LARGE
    assert await push(stage, await subscribe(stage), b"\xff" * 9) == ErrorCode.INVALID_RECORD
    assert await push(stage, await subscribe(stage), b"not gzip", 1) == ErrorCode.INVALID_RECORD
    told = await subscribe(stage)
    assert await push(stage, told, DATA) == 0
    assert await push(stage, told, DATA) == ErrorCode.THROTTLING_QUOTA_EXCEEDED
    assert (await subscribe(stage, told.client_instance_id)).error_code == ErrorCode.THROTTLING_QUOTA_EXCEEDED
    assert await push(stage, told, b"", terminating=True) == 0
    assert await push(stage, told, b"", terminating=True) == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
async def test_a_bomb_is_too_large_and_costs_no_memory(stage: Stage, codec: int) -> None:
    """A few kilobytes that inflate beyond the bound: the size that was sent says nothing."""
    told = await subscribe(stage)
    bomb = CODECS[codec](bytes(4 * limits.CLIENT_METRICS_INFLATED_BYTES_MAX))
    if len(bomb) > 100_000:
        bomb = bomb[:100_000]  # snappy does not compress that well: it is refused by what its header claims
    tracemalloc.start()
    try:
        code = await push(stage, told, bomb, codec)
        assert tracemalloc.get_traced_memory()[1] < 3 * limits.CLIENT_METRICS_INFLATED_BYTES_MAX
    finally:
        tracemalloc.stop()
    assert code == ErrorCode.TELEMETRY_TOO_LARGE
    assert seen(stage).instances[0].last_error == ErrorCode.TELEMETRY_TOO_LARGE


async def test_the_operator_reads_pages_or_one_instance_and_may_leave_the_values_out(stage: Stage) -> None:
    told = [await subscribe(stage) for _ in range(3)]
    for each in told:
        await push(stage, each, DATA)
    page = seen(stage, limit=2, values=False)
    assert (len(page.instances), page.total, page.instances[0].points) == (2, 3, [])
    rest = seen(stage, limit=2, after=page.next_after)
    assert (len(rest.instances), rest.next_after) == (1, b"")
    (one,) = seen(stage, client_instance_id=told[1].client_instance_id).instances
    assert one.client_instance_id == told[1].client_instance_id
    assert seen(stage, client_instance_id=b"nobody").instances == []
