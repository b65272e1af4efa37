from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import describe_log_dirs
from broker.protocol import messages as m
from tests.handlers.admin_stage import FakePartitions, Stage, open_stage, versions


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path) as opened:
        partitions = opened.services.partitions
        assert isinstance(partitions, FakePartitions)
        partitions.directories = [
            (
                "/disk1",
                ErrorCode.NONE,
                1000,
                400,
                [("a", 0, 10, 0, False), ("a", 1, 20, 3, False), ("b", 0, 5, 0, True)],
            ),
            ("/disk2", ErrorCode.KAFKA_STORAGE_ERROR, -1, -1, []),
        ]
        yield opened


@pytest.mark.parametrize("version", versions(describe_log_dirs))
async def test_every_version_tells_sizes_and_failed_directories(stage: Stage, version: int) -> None:
    answer = await stage.ask(describe_log_dirs, m.DescribeLogDirsRequest(topics=None), version)
    assert answer.error_code == 0
    good, failed = answer.results
    assert (good.error_code, good.log_dir) == (0, "/disk1")
    assert [
        (t.name, [(p.partition_index, p.partition_size, p.offset_lag, p.is_future_key) for p in t.partitions])
        for t in good.topics
    ] == [("a", [(0, 10, 0, False), (1, 20, 3, False)]), ("b", [(0, 5, 0, True)])]
    assert (failed.error_code, failed.log_dir, failed.topics) == (ErrorCode.KAFKA_STORAGE_ERROR, "/disk2", [])
    assert (good.total_bytes, good.usable_bytes) == ((1000, 400) if version >= 4 else (-1, -1))


async def test_only_the_partitions_asked_for_are_listed(stage: Stage) -> None:
    request = m.DescribeLogDirsRequest
    topic = request.DescribableLogDirTopic(topic="a", partitions=[1, 9])
    first, second = (await stage.ask(describe_log_dirs, request(topics=[topic]))).results
    assert [(t.name, [p.partition_index for p in t.partitions]) for t in first.topics] == [("a", [1])]
    assert second.topics == []
    first, _ = (await stage.ask(describe_log_dirs, request(topics=[]))).results
    assert first.topics == []
