"""InitProducerId without a transactional id; with one it is in ``tests/transactions``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import init_producer_id
from broker.protocol import messages as m
from tests.handlers.admin_stage import Stage, open_stage, versions


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path) as opened:
        yield opened


@pytest.mark.parametrize("version", versions(init_producer_id))
async def test_an_idempotent_producer_gets_a_fresh_id_each_time(stage: Stage, version: int) -> None:
    request = m.InitProducerIdRequest(transactional_id=None, transaction_timeout=1000)
    answers = [await stage.ask(init_producer_id, request, version) for _ in range(3)]
    assert [(a.error_code, a.producer_epoch) for a in answers] == [(0, 0)] * 3
    assert len({a.producer_id for a in answers}) == 3


@pytest.mark.parametrize("version", [3, 4, 5])
async def test_a_producer_that_had_an_id_gets_another_with_epoch_0(stage: Stage, version: int) -> None:
    request = m.InitProducerIdRequest(transactional_id=None, producer_id=77, producer_epoch=4)
    answer = await stage.ask(init_producer_id, request, version)
    assert (answer.error_code, answer.producer_epoch) == (0, 0)
    assert answer.producer_id != 77


@pytest.mark.parametrize(("producer_id", "epoch"), [(77, -1), (-1, 4)])
async def test_half_an_identity_is_refused(stage: Stage, producer_id: int, epoch: int) -> None:
    request = m.InitProducerIdRequest(transactional_id=None, producer_id=producer_id, producer_epoch=epoch)
    answer = await stage.ask(init_producer_id, request)
    assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (ErrorCode.INVALID_REQUEST, -1, -1)
