"""The worker's sign of life: at once, then regularly, never twice at a time."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from broker.jobs import worker_step
from broker.jobs.heartbeat import HEARTBEAT_SECONDS


class FakeTimer:
    def __init__(self) -> None:
        self.entries: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def call_repeatedly(self, seconds: float, act: Callable[..., None], arguments: tuple[Any, ...]) -> Any:
        entry = (seconds, act, arguments)
        self.entries.append(entry)
        return SimpleNamespace(cancel=lambda: self.entries.remove(entry))


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    monkeypatch.setattr(worker_step, "beat", names.append)
    return names


def test_a_started_worker_speaks_at_once_and_then_regularly(beats: list[str]) -> None:
    consumer = SimpleNamespace(hostname="worker@here", timer=FakeTimer())
    worker_step.WorkerHeartbeat(consumer).start(consumer)
    assert beats == ["worker@here"]
    ((seconds, act, arguments),) = consumer.timer.entries
    assert seconds == HEARTBEAT_SECONDS
    act(*arguments)
    assert beats == ["worker@here", "worker@here"]


def test_reconnecting_does_not_add_a_second_timer(beats: list[str]) -> None:
    consumer = SimpleNamespace(hostname="worker@here", timer=FakeTimer())
    step = worker_step.WorkerHeartbeat(consumer)
    for _ in range(3):
        step.start(consumer)
        step.stop(consumer)
    step.start(consumer)
    assert len(consumer.timer.entries) == 1
    step.stop(consumer)
    step.stop(consumer)
    assert consumer.timer.entries == []
