"""Seeds: each is another cluster's life, and what must be true is true in all of them."""

from __future__ import annotations

import os
import random

import pytest

from tests.simulation.run import simulate

SEEDS = range(20)
"""As many as every change has time for."""
REGRESSIONS: tuple[int, ...] = ()
"""Seeds that found something once."""
NIGHTLY_SEEDS = 400
CHOSEN = os.environ.get("SIMULATION_SEED", "")


@pytest.mark.parametrize("seed", [*SEEDS, *REGRESSIONS])
def test_nothing_that_was_promised_is_broken(seed: int) -> None:
    outcome = simulate(seed)
    assert not outcome.violations, outcome.report()


@pytest.mark.skipif(not CHOSEN, reason="SIMULATION_SEED names no seed")
def test_repeat_a_seed() -> None:
    outcome = simulate(int(CHOSEN))
    print(outcome.report())
    assert not outcome.violations


def test_a_seed_is_the_same_story_every_time() -> None:
    first, second = simulate(3), simulate(3)
    assert (first.digest, first.callbacks, first.messages) == (second.digest, second.callbacks, second.messages)
    assert first.digest != simulate(4).digest


@pytest.mark.nightly
@pytest.mark.timeout(7_200)
def test_nothing_is_broken_in_hundreds_of_lives() -> None:
    first = random.SystemRandom().randrange(1_000_000_000)
    for seed in range(first, first + NIGHTLY_SEEDS):
        outcome = simulate(seed)
        assert not outcome.violations, outcome.report()
