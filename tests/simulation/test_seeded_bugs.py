"""Bugs on purpose (``broker/faultpoints.py``): a simulation that would not find them would prove nothing."""

from __future__ import annotations

from unittest import mock

import pytest

from broker import faultpoints
from tests.simulation.run import simulate

SEEDS_MAX = 40


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "bug", ["SKIP_FSYNC", "TRUNCATE_TO_HIGH_WATERMARK", "IGNORE_LEADER_EPOCH", "DROP_PRODUCER_STATE"]
)
def test_the_simulation_finds(bug: str) -> None:
    with mock.patch.object(faultpoints, bug, True):
        found = next((seed for seed in range(SEEDS_MAX) if simulate(seed).violations), None)
    assert found is not None, f"{SEEDS_MAX} seeds did not find it"
    assert not simulate(found).violations, "it is not the bug on purpose that was found"
