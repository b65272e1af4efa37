from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import describe_cluster
from broker.protocol import messages as m
from tests.handlers.admin_stage import Stage, open_stage, versions


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path, broker_rack="r") as opened:
        yield opened


@pytest.mark.parametrize("version", versions(describe_cluster))
async def test_every_version_tells_the_cluster(stage: Stage, version: int) -> None:
    answer = await stage.ask(describe_cluster, m.DescribeClusterRequest(), version)
    assert (answer.error_code, answer.cluster_id, answer.controller_id) == (0, stage.services.cluster_id, 1)
    assert [(b.broker_id, b.host, b.port, b.rack) for b in answer.brokers] == [(1, "127.0.0.1", 9092, "r")]
    assert answer.cluster_authorized_operations == -(2**31)


async def test_operations_are_told_when_asked_for_and_fenced_brokers_are_none(stage: Stage) -> None:
    request = m.DescribeClusterRequest(include_cluster_authorized_operations=True, include_fenced_brokers=True)
    answer = await stage.ask(describe_cluster, request)
    assert answer.cluster_authorized_operations == 8096
    assert [b.is_fenced for b in answer.brokers] == [False]


@pytest.mark.parametrize(
    ("endpoint_type", "code"),
    [(2, ErrorCode.MISMATCHED_ENDPOINT_TYPE), (9, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE)],
)
async def test_there_are_no_controllers_to_list(stage: Stage, endpoint_type: int, code: ErrorCode) -> None:
    answer = await stage.ask(describe_cluster, m.DescribeClusterRequest(endpoint_type=endpoint_type))
    assert (answer.error_code, answer.brokers) == (code, [])
    assert answer.error_message


async def test_a_broker_between_two_registrations_still_names_itself(stage: Stage) -> None:
    from dataclasses import replace

    stage.cluster.image = replace(stage.cluster.image, brokers={}, controller_id=-1)
    answer = await stage.ask(describe_cluster, m.DescribeClusterRequest())
    assert [(b.broker_id, b.port) for b in answer.brokers] == [(1, 9092)]
    assert answer.controller_id == 1
