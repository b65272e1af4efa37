"""Who is measured when, and what the ratio is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from bench.apache.rows import Figure, Row
from bench.apache.series import apart, together


@dataclass
class Fake:
    name: str
    port: int = 0
    started_seconds: float = 0.0
    bootstrap: str = ""

    def cpu_seconds(self) -> float:
        return 0.0

    def rss_mb(self) -> float:
        return 0.0


class Stage:
    """Two brokers whose measurements are scripted; remembers in which order they came."""

    def __init__(self, **values: list[float]) -> None:
        self.values = values
        self.running: set[str] = set()
        self.seen: list[tuple[str, frozenset[str]]] = []

    def broker(self, name: str):
        @contextmanager
        def run() -> Iterator[Fake]:
            self.running.add(name)
            yield Fake(name)
            self.running.discard(name)

        return run

    def row(self, figure: Figure) -> Row[Fake]:
        def measure(broker: Fake, scale: float) -> tuple[float, ...]:
            self.seen.append((broker.name, frozenset(self.running)))
            return (self.values[broker.name].pop(0),)

        return Row(name="row", figures=(figure,), measure=measure)


FASTER = Figure(unit="MB/s", aim=2.0)
SMALLER = Figure(unit="MB", aim=0.5, less_is_better=True)


def test_the_ratio_is_that_of_the_medians_without_the_warm_up() -> None:
    stage = Stage(Ottla=[1, 30, 20, 90], Kafka=[99, 10, 10, 5])

    (compared,) = together([stage.row(FASTER)], stage.broker("Ottla"), stage.broker("Kafka"), rounds=3, scale=1)

    assert (compared.ottla, compared.kafka) == ((30, 20, 90), (10, 10, 5))
    assert compared.ratio == 3.0
    assert compared.met


def test_turns_alternate_so_that_neither_is_always_first() -> None:
    stage = Stage(Ottla=[1, 2, 3], Kafka=[1, 2, 3])

    list(together([stage.row(FASTER)], stage.broker("Ottla"), stage.broker("Kafka"), rounds=2, scale=1))

    assert [name for name, _ in stage.seen] == ["Kafka", "Ottla", "Ottla", "Kafka", "Kafka", "Ottla"]


def test_fixed_costs_are_measured_with_the_other_broker_stopped() -> None:
    stage = Stage(Ottla=[1, 3], Kafka=[4, 4])

    (compared,) = apart([stage.row(SMALLER)], stage.broker("Ottla"), stage.broker("Kafka"), rounds=2, scale=1)

    assert stage.seen == [(name, frozenset({name})) for name in ("Kafka", "Ottla", "Ottla", "Kafka")]
    assert compared.ratio == 0.5


@pytest.mark.parametrize(
    ("figure", "ratio", "met"), [(FASTER, 2.0, True), (FASTER, 1.9, False), (SMALLER, 0.5, True), (SMALLER, 0.6, False)]
)
def test_an_aim_is_a_floor_where_more_is_better_and_a_ceiling_where_less_is(figure, ratio, met) -> None:
    assert figure.met(ratio) is met
