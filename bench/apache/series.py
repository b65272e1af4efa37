"""Ottla and Apache Kafka in turn: who is measured when, and what is kept of it.

Both brokers run on this machine, but only one is loaded at a time and the dirty pages of the other are written back before.
What was written is deleted before the next turn: pages that the machine has to find first are slower than any broker. A series
alternates (Ottla, Kafka, Kafka, Ottla, …) so that a machine that becomes slower is slower for both.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from bench import raw
from bench.apache.rows import Figure, Row, Under

UNLINK_SECONDS = 1.0
NewBroker = Callable[[], AbstractContextManager[Under]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of one row on both brokers."""

    name: str
    figure: Figure
    ottla: tuple[float, ...]
    kafka: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Ottla / Kafka, of the medians."""
        theirs = statistics.median(self.kafka)
        return statistics.median(self.ottla) / theirs if theirs else float("inf")

    @property
    def met(self) -> bool:
        return self.figure.met(self.ratio)


def together(
    rows: Iterable[Row[Under]], ottla: NewBroker[Under], kafka: NewBroker[Under], *, rounds: int, scale: float
) -> Iterator[Compared]:
    """Rows of a warm broker: both stay up for the whole series. One round more than asked for warms up."""
    with ExitStack() as stack:
        pair = (stack.enter_context(ottla()), stack.enter_context(kafka()))
        for row in rows:
            values: dict[str, list[tuple[float, ...]]] = {broker.name: [] for broker in pair}
            for number in range(rounds + 1):
                for broker in pair if number % 2 else reversed(pair):
                    os.sync()
                    measured = row.measure(broker, scale if number else scale / 4)
                    forget_topics(broker.port)
                    if number:
                        values[broker.name].append(measured)
            yield from _compared(row, values[pair[0].name], values[pair[1].name])


def forget_topics(port: int) -> None:
    """Delete what a row has written, and give both kinds of broker the moment they need to unlink it."""
    if port:
        raw.delete_topics(port, prefix="bench-")
        time.sleep(UNLINK_SECONDS)


def apart(
    rows: Iterable[Row[Under]], ottla: NewBroker[Under], kafka: NewBroker[Under], *, rounds: int, scale: float
) -> Iterator[Compared]:
    """Rows about a broker's fixed costs: each measurement has a fresh one, alone on the machine."""
    for row in rows:
        values: list[list[tuple[float, ...]]] = [[], []]
        for number in range(rounds):
            for side in (0, 1) if number % 2 else (1, 0):
                with (ottla, kafka)[side]() as broker:
                    values[side].append(row.measure(broker, scale))
        yield from _compared(row, *values)


def _compared(row: Row[Under], ottla: list[tuple[float, ...]], kafka: list[tuple[float, ...]]) -> Iterator[Compared]:
    for index, figure in enumerate(row.figures):
        yield Compared(
            name=row.name,
            figure=figure,
            ottla=tuple(values[index] for values in ottla),
            kafka=tuple(values[index] for values in kafka),
        )
