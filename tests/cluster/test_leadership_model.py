"""Whatever happens to brokers, sessions, proposals and plans: nobody may lead who lacks a committed record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from broker.cluster import config_admin, partition_changes
from tests.cluster.leadership_model import Model

STEPS = 600


def story(seed: int, *, reboots: bool) -> Model:
    model = Model(seed, reboots=reboots)
    for _ in range(STEPS):
        model.step()
    model.recover()
    return model


@pytest.mark.parametrize("seed", range(30))
def test_without_reboots_nobody_may_lead_who_lacks_something_and_somebody_always_can(seed: int) -> None:
    model = story(seed, reboots=False)
    assert model.partition is not None
    assert model.partition.leader in model.partition.isr
    assert not model.lossy


@pytest.mark.parametrize("seed", range(20))
def test_reboots_cost_nothing_as_long_as_one_certain_copy_is_left(seed: int) -> None:
    story(seed, reboots=True)


def test_the_stories_tell_something() -> None:
    models = [story(seed, reboots=True) for seed in range(20)]
    assert sum(len(model.committed) for model in models) > 20
    assert sum(model.partition.leader_epoch for model in models if model.partition is not None) > 20
    assert 0 < sum(model.lossy for model in models) < 20


def everybody_is_eligible(before: Any, replicas: Any, isr: Any, unfit: Any, rules: Any) -> tuple[int, ...]:
    return tuple(r for r in replicas if r not in isr)


def somebody_notices() -> bool:
    for seed in range(200):
        try:
            story(seed, reboots=False)
        except AssertionError:
            return True
    return False


@pytest.mark.parametrize(
    ("module", "name", "wrong"),
    [
        (config_admin, "rejudge_eligible", lambda *_: None),
        (partition_changes, "_eligible", everybody_is_eligible),
    ],
    ids=["a minimum changes alone", "everybody is eligible"],
)
def test_a_rule_that_is_left_out_is_missed(
    module: Any, name: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, wrong)
    assert somebody_notices()
