from __future__ import annotations

from collections.abc import Collection

import pytest

from broker.cluster import loss_reports
from broker.cluster.loss_reports import LossReports, Lost
from broker.errors import ErrorCode, KafkaError
from tests.support.wait import eventually

ONE = (bytes(15) + b"1", 0)
TWO = (bytes(15) + b"2", 3)


class World:
    def __init__(self) -> None:
        self.lost: Lost = frozenset()
        self.reports: list[Lost] = []
        self.looks = 0
        self.failing = False
        self.relieved: Collection[object] = ()

    def look(self) -> Lost:
        self.looks += 1
        return self.lost

    async def report(self, lost: Lost) -> Collection[object]:
        self.reports.append(lost)
        if self.failing:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT)
        return self.relieved


async def test_every_loss_is_reported_once_and_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_reports, "LOOK_SECONDS", 0.001)
    world = World()
    reports = LossReports(world.look, world.report)
    reports.start()
    await eventually(lambda: world.looks > 3)
    assert world.reports == []
    world.lost = frozenset({ONE})
    await eventually(lambda: world.reports == [{ONE}])
    seen = world.looks
    await eventually(lambda: world.looks > seen + 3)
    assert world.reports == [{ONE}]
    world.failing = True
    world.lost = frozenset({ONE, TWO})
    await eventually(lambda: len(world.reports) > 2)
    assert world.reports[1] == world.reports[2] == {ONE, TWO}
    world.failing = False
    world.lost = None
    await eventually(lambda: world.reports[-1] is None)
    await reports.stop()


async def test_what_others_come_to_rely_on_again_is_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relieved, and elected again before the next look: the loss is the same, and has to be told once more."""
    monkeypatch.setattr(loss_reports, "LOOK_SECONDS", 0.001)
    world = World()
    world.lost, world.relieved = frozenset({ONE}), (ONE,)
    reports = LossReports(world.look, world.report)
    reports.start()
    await eventually(lambda: len(world.reports) > 2)
    world.relieved = ()  # nobody could do better
    seen = len(world.reports)
    await eventually(lambda: len(world.reports) > seen)
    told, looks = len(world.reports), world.looks
    await eventually(lambda: world.looks > looks + 3)
    assert len(world.reports) == told
    await reports.stop()
