"""Producers old and new, of both versions, late, repeated and confused, against the naive twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from broker.transactions.records import TransactionRecord
from broker.transactions.states import EPOCH_EXHAUSTED_FROM, REACHED_FROM
from tests.transactions.naive_transaction import NaiveTransaction
from tests.transactions.stage import CLICKS, ID, Stage

VERSIONS = st.sampled_from([0, 2])
PARTITIONS = st.frozensets(st.sampled_from(CLICKS), min_size=0, max_size=3)


class Transactions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(complete_wait_ms=0)
        self.twin = NaiveTransaction()
        self.seen: list[tuple[int, int]] = [(7, 7)]
        """Every identity anybody was ever given, and one nobody was."""

    def producer(self, age: int) -> tuple[int, int]:
        """0 is the newest identity."""
        return self.seen[-1 - age % len(self.seen)]

    def learn(self, answer: Any) -> None:
        if isinstance(answer, tuple) and answer not in self.seen:
            self.seen.append(answer)

    def compare(self, answer: Any, expected: Any) -> None:
        assert answer == expected
        self.learn(answer)

    @initialize(near_the_end=st.booleans())
    def begin(self, near_the_end: bool) -> None:
        expected = self.twin.init(None, 10_000, self.stage.next_producer_id, self.stage.now_ms)
        self.compare(self.stage.init(), expected)
        if near_the_end:
            record = self.stage.log[-1]
            assert record.value is not None
            epoch = EPOCH_EXHAUSTED_FROM - 2
            self.stage.log[-1] = replace(record, value=replace(record.value, producer_epoch=epoch))
            self.stage.reload()
            self.twin.epoch = epoch
            self.seen.append((record.value.producer_id, epoch))

    @rule(timeout_ms=st.sampled_from([1_000, 10_000]))
    def a_new_producer_comes(self, timeout_ms: int) -> None:
        expected = self.twin.init(None, timeout_ms, self.stage.next_producer_id, self.stage.now_ms)
        self.compare(self.stage.init(timeout_ms=timeout_ms), expected)

    @rule(age=st.integers(0, 4))
    def a_producer_recovers(self, age: int) -> None:
        producer = self.producer(age)
        expected = self.twin.init(producer, 10_000, self.stage.next_producer_id, self.stage.now_ms)
        self.compare(self.stage.init(*producer), expected)

    @rule(age=st.integers(0, 3), partitions=PARTITIONS, version=VERSIONS)
    def a_producer_adds(self, age: int, partitions: frozenset[Any], version: int) -> None:
        producer, wanted = self.producer(age), partitions or frozenset(CLICKS[:1])
        expected = self.twin.add(producer, set(wanted), self.stage.now_ms)
        self.compare(self.stage.add(producer, *wanted, version=version), expected)

    @rule(age=st.integers(0, 3))
    def a_broker_verifies(self, age: int) -> None:
        producer = self.producer(age)
        expected = {partition: self.twin.verify(producer, partition) for partition in CLICKS}
        assert self.stage.verify(producer, *CLICKS) == expected

    @rule(age=st.sampled_from([0, 0, 0, 1, 2, 3]), commit=st.booleans(), version=VERSIONS)
    def a_producer_ends(self, age: int, commit: bool, version: int) -> None:
        producer = self.producer(age)
        expected = self.twin.end(producer, commit, version, self.stage.next_producer_id, self.stage.now_ms)
        self.compare(self.stage.end(producer, commit=commit, version=version), expected)

    @rule()
    def the_markers_are_written(self) -> None:
        if self.twin.exists:
            self.stage.complete()
            self.twin.complete(self.stage.now_ms)

    @rule(milliseconds=st.sampled_from([1, 999, 1_001, 10_001, 60_001]))
    def time_passes(self, milliseconds: int) -> None:
        self.stage.advance(milliseconds)
        # Either may end the id's life or its transaction, never both in one round.
        fresh = self.stage.next_producer_id
        self.stage.abort_overdue()
        self.stage.expire()
        self.twin.pass_time(fresh, self.stage.now_ms, 60_000)

    @rule()
    def another_broker_takes_over(self) -> None:
        self.stage.reload()
        self.twin.reload()

    @invariant()
    def they_know_the_same(self) -> None:
        transaction = self.stage.shard.transactions.get(ID)
        assert (transaction is not None) == self.twin.exists
        if transaction is None:
            return
        assert transaction.state.wire_name == self.twin.state
        assert (transaction.producer_id, transaction.producer_epoch) == (self.twin.id, self.twin.epoch)
        assert transaction.next_producer_id == self.twin.next_id
        assert transaction.partitions == self.twin.partitions
        assert (transaction.start_ms, transaction.timeout_ms) == (self.twin.start_ms, self.twin.timeout_ms)
        assert (ID in self.stage.shard.prepared) == self.twin.state.startswith("Prepare")

    @invariant()
    def the_log_tells_a_story_kafka_would_believe(self) -> None:
        before: TransactionRecord | None = None
        for record in self.stage.log:
            if before is not None and before.value is not None and record.value is not None:
                old, new = before.value, record.value
                assert old.state in REACHED_FROM[new.state]
                assert new.producer_id > old.producer_id or (
                    new.producer_id == old.producer_id and new.producer_epoch >= old.producer_epoch
                )
            before = record

    @invariant()
    def nobody_waits(self) -> None:
        assert not self.stage.timers


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Transactions, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


def test_the_shard_does_what_its_twin_does() -> None:
    run(examples=60, steps=40)


@pytest.mark.nightly
def test_the_shard_does_what_its_twin_does_for_long() -> None:
    run(examples=3_000, steps=80)
