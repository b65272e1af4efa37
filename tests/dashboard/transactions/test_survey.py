"""Whose transaction is open, whom it holds back, and which one hangs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from broker.client.results import ProducerDescription, TransactionDescription, TransactionListing
from broker.types import TopicPartition
from dashboard.transactions.survey import HANGING_MS, Ends, Survey, TransactionView, survey

NOW_MS = 1_800_000_000_000
P0, P1 = TopicPartition("orders", 0), TopicPartition("orders", 1)


def described(
    name: str, producer_id: int, *partitions: TopicPartition, state: str = "Ongoing", age_ms: int = 5_000
) -> TransactionDescription:
    return TransactionDescription(
        transactional_id=name,
        coordinator=1,
        producer_id=producer_id,
        producer_epoch=3,
        state=state,
        timeout_ms=60_000,
        start_ms=NOW_MS - age_ms,
        partitions=partitions,
    )


def opened(producer_id: int, partition: int, start: int, *, silent_ms: int = 20_000) -> ProducerDescription:
    return ProducerDescription(
        partition=partition,
        producer_id=producer_id,
        producer_epoch=3,
        last_sequence=9,
        last_timestamp_ms=NOW_MS - silent_ms,
        coordinator_epoch=0,
        transaction_start_offset=start,
    )


def look(
    *transactions: TransactionDescription,
    producers: Sequence[ProducerDescription] = (),
    ends: Mapping[TopicPartition, Ends] | None = None,
    committed: Mapping[TopicPartition, Mapping[str, int]] | None = None,
) -> Survey:
    listings = [
        TransactionListing(
            transactional_id=one.transactional_id, coordinator=1, producer_id=one.producer_id, state=one.state
        )
        for one in transactions
    ]
    by_id = {one.transactional_id: one for one in transactions}
    return survey(listings, by_id, {"orders": producers}, ends or {}, committed or {}, NOW_MS)


def only(found: Survey) -> TransactionView:
    (one,) = found.transactions
    return one


def test_an_open_transaction_holds_back_what_lies_behind_its_first_record() -> None:
    found = look(
        described("pay", 7, P0),
        producers=[opened(7, 0, 40)],
        ends={P0: Ends(last_stable=40, high_watermark=100)},
        committed={P0: {"billing": 40, "search": 100, "slow": 12}},
    )
    one = only(found)
    assert (one.is_open, one.word, one.waiting, one.groups, one.hanging) == (True, "open", 60, ["billing"], False)
    assert one.overdue_ms == NOW_MS + 55_000
    assert (found.waiting, found.oldest) == (60, one)


def test_readers_wait_for_the_oldest_transaction_alone() -> None:
    found = look(
        described("first", 7, P0, age_ms=9_000),
        described("second", 8, P0),
        producers=[opened(7, 0, 40), opened(8, 0, 60)],
        ends={P0: Ends(last_stable=40, high_watermark=100)},
        committed={P0: {"billing": 40}},
    )
    assert [(one.transactional_id, one.waiting, one.groups) for one in found.transactions] == [
        ("first", 60, ["billing"]),
        ("second", 0, []),
    ]


def test_what_no_coordinator_knows_hangs() -> None:
    found = look(producers=[opened(9, 0, 10), opened(9, 1, 20)], ends={P0: Ends(last_stable=10, high_watermark=15)})
    one = only(found)
    assert (one.hanging, one.word, one.level(NOW_MS), one.waiting, one.overdue_ms) == (True, "hanging", "bad", 5, -1)
    assert [held.topic_partition for held in one.held] == [P0, P1]
    assert found.find_hanging(9) is one
    assert found.find("") is None


def test_a_partition_its_coordinator_does_not_count_in_hangs_under_its_id() -> None:
    found = look(described("pay", 7, P1), producers=[opened(7, 0, 10), opened(7, 1, 20)])
    assert [(one.transactional_id, one.hanging) for one in found.transactions] == [("pay", True), ("pay", False)]
    assert found.find("pay") is found.transactions[1]


@pytest.mark.parametrize("state", ["CompleteAbort", "CompleteCommit", "Empty"])
def test_what_its_coordinator_has_ended_hangs_as_well(state: str) -> None:
    found = look(described("pay", 7, state=state), producers=[opened(7, 0, 10)])
    assert found.transactions[0].hanging


def test_a_producer_that_wrote_just_now_does_not_hang_yet() -> None:
    assert look(producers=[opened(9, 0, 10, silent_ms=HANGING_MS)]).transactions == []
    assert look(producers=[opened(9, 0, 10, silent_ms=HANGING_MS + 1)]).hanging


def test_a_transaction_that_ended_between_the_answers_holds_nobody() -> None:
    one = only(look(described("pay", 7, P0), ends={P0: Ends(last_stable=100, high_watermark=100)}))
    assert (one.is_open, one.waiting, one.held[0].first_offset) == (True, 0, -1)


def test_hanging_ones_come_first_then_the_oldest_then_the_others_by_id() -> None:
    found = look(
        described("young", 1, age_ms=1_000),
        described("zulu", 2, state="CompleteCommit", age_ms=90_000),
        described("old", 3, age_ms=50_000),
        described("alpha", 4, state="Empty"),
        producers=[opened(9, 0, 10)],
    )
    assert [one.transactional_id for one in found.transactions] == ["", "old", "young", "alpha", "zulu"]


@pytest.mark.parametrize(
    ("state", "age_ms", "level"),
    [
        ("Ongoing", 5_000, "good"),
        ("Ongoing", 76_000, "warn"),
        ("PrepareCommit", 5_000, "good"),
        ("PrepareAbort", 76_000, "warn"),
        ("CompleteCommit", 76_000, "idle"),
        ("Empty", 0, "idle"),
        ("Something", 0, "unknown"),
    ],
)
def test_a_transaction_needs_a_look_when_its_end_is_overdue(state: str, age_ms: int, level: str) -> None:
    assert only(look(described("pay", 7, state=state, age_ms=age_ms))).level(NOW_MS) == level


def test_an_id_that_could_not_be_described_is_still_listed() -> None:
    listing = TransactionListing(transactional_id="pay", coordinator=2, producer_id=5, state="Ongoing")
    one = only(survey([listing], {}, {}, {}, {}, NOW_MS))
    assert (one.transactional_id, one.producer_epoch, one.start_ms, one.held) == ("pay", -1, -1, ())
