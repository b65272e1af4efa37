"""One test per transition: what a transactional id answers in each state, and what is written for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.errors import ErrorCode
from broker.transactions.metadata import VERSION_2
from broker.transactions.states import EPOCH_EXHAUSTED_FROM, PRODUCER_EPOCH_MAX, TransactionState
from broker.types import TopicPartition
from tests.transactions.stage import CLICKS, ID, START_MS, WAITING, Stage


def states(stage: Stage) -> list[str]:
    return [record.value.state.wire_name if record.value else "Dead" for record in stage.log]


def exhausted(stage: Stage) -> tuple[int, int]:
    """A producer that has used up its epochs."""
    producer_id, _ = stage.init()
    record = stage.log[-1]
    assert record.value is not None
    stage.log[-1] = replace(record, value=replace(record.value, producer_epoch=EPOCH_EXHAUSTED_FROM))
    stage.reload()
    return producer_id, EPOCH_EXHAUSTED_FROM


# InitProducerId ------------------------------------------------------------------------------------------


def test_a_new_id_gets_a_producer_id_of_its_own_and_epoch_0() -> None:
    stage = Stage()
    assert stage.init() == (1_000, 0)
    assert stage.init(key="other") == (1_001, 0)
    assert states(stage) == ["Empty", "Empty"]


def test_the_next_producer_of_an_id_gets_the_next_epoch() -> None:
    stage = Stage()
    stage.init()
    assert stage.init() == (1_000, 1)
    assert stage.init(timeout_ms=7) == (1_000, 2)
    assert stage.transaction().timeout_ms == 7


def test_a_producer_that_recovers_gets_the_next_epoch_and_a_retry_the_same_one() -> None:
    stage = Stage()
    producer = stage.init()
    assert stage.init(*producer) == (1_000, 1)
    assert stage.init(*producer) == (1_000, 1)


def test_a_retry_is_fenced_once_another_producer_has_come() -> None:
    stage = Stage()
    producer = stage.init()
    stage.init(*producer)
    assert stage.init() == (1_000, 2)
    assert stage.init(*producer) is ErrorCode.PRODUCER_FENCED
    assert stage.init(1_000, 1) is ErrorCode.PRODUCER_FENCED


def test_a_retry_across_a_change_of_coordinator_is_fenced_as_in_kafka() -> None:
    stage = Stage()
    producer = stage.init()
    stage.init(*producer)
    stage.reload()
    assert stage.init(*producer) is ErrorCode.PRODUCER_FENCED


def test_a_producer_that_recovers_with_a_strange_id_is_fenced() -> None:
    stage = Stage()
    stage.init()
    assert stage.init(999, 0) is ErrorCode.PRODUCER_FENCED


def test_a_producer_whose_id_was_forgotten_gets_a_new_one() -> None:
    assert Stage().init(999, 5) == (1_000, 0)


def test_the_last_epoch_is_followed_by_a_new_producer_id() -> None:
    stage = Stage()
    producer = exhausted(stage)
    assert stage.init() == (1_001, 0)
    assert stage.transaction().previous_producer_id == producer[0]


def test_a_recovering_producer_gets_the_same_new_id_when_it_asks_again() -> None:
    stage = Stage()
    producer = exhausted(stage)
    assert stage.init(*producer) == (1_001, 0)
    assert stage.init(*producer) == (1_001, 0)
    assert stage.init(producer[0], 5) is ErrorCode.PRODUCER_FENCED


def test_a_new_producer_ends_the_transaction_of_the_old_one_and_waits_for_it() -> None:
    stage = Stage()
    old = stage.init()
    stage.add(old)
    ticket, waits = stage.init()
    assert waits is WAITING
    assert stage.transaction().state is TransactionState.PREPARE_ABORT
    assert stage.transaction().producer_epoch == 1, "markers carry an epoch the old producer never had"
    stage.complete()
    assert stage.answer(ticket) == (1_000, 2)
    assert states(stage) == ["Empty", "Ongoing", "PrepareAbort", "CompleteAbort", "Empty"]
    assert stage.add(old) is ErrorCode.PRODUCER_FENCED


def test_who_waits_too_long_is_told_to_come_again() -> None:
    stage = Stage(complete_wait_ms=100)
    stage.add(stage.init())
    ticket, _ = stage.init()
    stage.advance(99)
    assert stage.answer(ticket) == (ticket, WAITING)
    stage.advance(1)
    assert stage.answer(ticket) is ErrorCode.CONCURRENT_TRANSACTIONS
    stage.complete()
    assert stage.init() == (1_000, 2)


def test_without_patience_the_answer_is_immediate() -> None:
    stage = Stage(complete_wait_ms=0)
    stage.add(stage.init())
    assert stage.init() is ErrorCode.CONCURRENT_TRANSACTIONS
    assert stage.init() is ErrorCode.CONCURRENT_TRANSACTIONS


def test_a_late_request_of_an_old_epoch_does_not_end_the_transaction_of_the_present_producer() -> None:
    stage = Stage()
    old = stage.init()
    new = stage.init()
    stage.add(new)
    assert stage.init(*old) is ErrorCode.PRODUCER_FENCED
    assert stage.transaction().state is TransactionState.ONGOING


def test_fencing_at_the_last_epoch_goes_over_to_a_new_producer_id() -> None:
    stage = Stage()
    producer = exhausted(stage)
    stage.add(producer)
    ticket, waits = stage.init()
    assert waits is WAITING
    assert stage.transaction().producer_epoch == PRODUCER_EPOCH_MAX
    stage.complete()
    assert stage.answer(ticket) == (1_001, 1)


# Adding and verifying --------------------------------------------------------------------------------------


def test_the_first_partition_begins_the_transaction() -> None:
    stage = Stage()
    producer = stage.init()
    stage.now_ms += 5
    assert stage.add(producer, CLICKS[0], CLICKS[1]) is ErrorCode.NONE
    transaction = stage.transaction()
    assert (transaction.state, transaction.start_ms) == (TransactionState.ONGOING, START_MS + 5)
    assert transaction.partitions == {CLICKS[0], CLICKS[1]}


def test_further_partitions_keep_its_start_and_known_ones_write_nothing() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, CLICKS[0])
    stage.now_ms += 5
    stage.add(producer, CLICKS[1])
    written = len(stage.log)
    assert stage.add(producer, CLICKS[0]) is ErrorCode.NONE
    assert (len(stage.log), stage.transaction().start_ms) == (written, START_MS)


@pytest.mark.parametrize(
    ("producer", "code"),
    [((1_001, 0), ErrorCode.INVALID_PRODUCER_ID_MAPPING), ((1_000, 1), ErrorCode.PRODUCER_FENCED)],
)
def test_another_id_or_epoch_adds_nothing_and_verifies_nothing(producer: tuple[int, int], code: ErrorCode) -> None:
    stage = Stage()
    stage.init()
    assert stage.add(producer) is code
    assert stage.verify(producer, CLICKS[0]) == {CLICKS[0]: code}
    assert stage.commit(producer) is code
    assert stage.commit(producer, version=0) is code
    assert states(stage) == ["Empty"]


def test_an_unknown_id_has_no_producer() -> None:
    stage = Stage()
    assert stage.add((1, 0)) is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert stage.commit((1, 0)) is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert stage.verify((1, 0), CLICKS[0]) == {CLICKS[0]: ErrorCode.INVALID_PRODUCER_ID_MAPPING}


def test_verifying_tells_which_partitions_are_part_of_it_and_adds_none() -> None:
    stage = Stage()
    producer = stage.init()
    assert stage.verify(producer, CLICKS[0]) == {CLICKS[0]: ErrorCode.TRANSACTION_ABORTABLE}
    stage.add(producer, CLICKS[0])
    assert stage.verify(producer, CLICKS[0], CLICKS[1]) == {
        CLICKS[0]: ErrorCode.NONE,
        CLICKS[1]: ErrorCode.TRANSACTION_ABORTABLE,
    }
    producer = stage.commit(producer)
    assert stage.verify(producer, CLICKS[0]) == {CLICKS[0]: ErrorCode.CONCURRENT_TRANSACTIONS}


def test_the_next_transaction_waits_until_the_last_one_is_complete() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer)
    producer = stage.commit(producer)
    ticket, waits = stage.add(producer, CLICKS[2])
    assert waits is WAITING
    stage.complete()
    assert stage.answer(ticket) is ErrorCode.NONE
    assert stage.transaction().partitions == {CLICKS[2]}
    assert states(stage)[-2:] == ["CompleteCommit", "Ongoing"]


def test_a_transaction_that_does_not_fit_into_a_record_takes_no_more_partitions() -> None:
    stage = Stage(record_bytes_max=10_000)
    producer = stage.init()
    many = [TopicPartition("clicks", index) for index in range(3_000)]
    assert stage.add(producer, *many) is ErrorCode.INVALID_REQUEST
    assert stage.add(producer, *many[:1_000]) is ErrorCode.NONE
    assert states(stage) == ["Empty", "Ongoing"]


# Ending, version 0 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("commit", "name"), [(True, "Commit"), (False, "Abort")])
def test_a_classic_end_keeps_the_epoch(commit: bool, name: str) -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, version=0)
    assert stage.end(producer, commit=commit, version=0) == producer
    assert stage.transaction().partitions == {CLICKS[0]}
    stage.complete()
    assert states(stage)[-2:] == [f"Prepare{name}", f"Complete{name}"]
    assert (stage.transaction().identity, stage.transaction().partitions) == (producer, frozenset())


def test_a_classic_end_asked_for_again_is_done_and_the_other_one_is_refused() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer, version=0)
    stage.commit(producer, version=0)
    ticket, waits = stage.commit(producer, version=0)
    assert waits is WAITING
    assert stage.abort(producer, version=0) is ErrorCode.INVALID_TXN_STATE
    stage.complete()
    assert stage.answer(ticket) == producer
    assert stage.commit(producer, version=0) == producer
    assert stage.abort(producer, version=0) is ErrorCode.INVALID_TXN_STATE


def test_a_classic_producer_cannot_end_what_it_has_not_begun() -> None:
    stage = Stage()
    producer = stage.init()
    assert stage.commit(producer, version=0) is ErrorCode.INVALID_TXN_STATE
    assert stage.abort(producer, version=0) is ErrorCode.INVALID_TXN_STATE


# Ending, version 2 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [True, False])
def test_every_end_of_version_2_raises_the_epoch_and_a_retry_gets_the_same_answer(commit: bool) -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer)
    assert stage.end(producer, commit=commit) == (1_000, 1)
    assert stage.transaction().producer_epoch == 1, "the marker's epoch"
    ticket, waits = stage.end(producer, commit=commit)
    assert waits is WAITING
    stage.complete()
    assert stage.answer(ticket) == (1_000, 1)
    assert stage.end(producer, commit=commit) == (1_000, 1)
    assert stage.end(producer, commit=not commit) is ErrorCode.INVALID_TXN_STATE


def test_a_retry_is_known_by_its_epoch_also_after_a_change_of_coordinator() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer)
    stage.commit(producer)
    stage.complete()
    stage.reload()
    assert stage.commit(producer) == (1_000, 1)


def test_a_late_end_of_an_old_epoch_cannot_end_the_next_transaction() -> None:
    stage = Stage()
    first = stage.init()
    stage.add(first)
    second = stage.commit(first)
    stage.complete()
    stage.add(second, CLICKS[1])
    assert stage.commit(first) is ErrorCode.PRODUCER_FENCED
    assert stage.abort(first) is ErrorCode.PRODUCER_FENCED
    assert stage.add(first) is ErrorCode.PRODUCER_FENCED
    assert stage.transaction().state is TransactionState.ONGOING


def test_while_prepared_only_the_same_decision_of_the_same_epoch_may_ask() -> None:
    stage = Stage()
    first = stage.init()
    stage.add(first)
    second = stage.commit(first)
    assert stage.abort(first) is ErrorCode.INVALID_TXN_STATE
    assert stage.commit(second) is ErrorCode.PRODUCER_FENCED
    assert stage.abort(second) is ErrorCode.PRODUCER_FENCED


def test_aborting_without_a_transaction_costs_an_epoch_and_sends_no_marker() -> None:
    stage = Stage()
    producer = stage.init()
    assert stage.commit(producer) is ErrorCode.INVALID_TXN_STATE
    assert stage.abort(producer) == (1_000, 1)
    assert states(stage) == ["Empty", "PrepareAbort", "CompleteAbort"]
    assert stage.shard.prepared == set()
    assert stage.abort((1_000, 1)) == (1_000, 2)
    assert stage.commit((1_000, 2)) is ErrorCode.INVALID_TXN_STATE


def test_an_abort_after_a_commit_is_the_next_call_and_not_a_contradiction() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer)
    producer = stage.commit(producer)
    stage.complete()
    assert stage.abort(producer) == (1_000, 2)


def test_the_end_that_uses_up_the_epochs_names_the_next_producer_id() -> None:
    stage = Stage()
    producer = exhausted(stage)
    stage.add(producer)
    assert stage.commit(producer) == (1_001, 0)
    transaction = stage.transaction()
    assert (transaction.producer_id, transaction.producer_epoch) == (1_000, PRODUCER_EPOCH_MAX)
    ticket, waits = stage.add((1_001, 0), CLICKS[1])
    assert waits is WAITING
    stage.complete()
    assert stage.answer(ticket) is ErrorCode.NONE
    assert stage.transaction().producer_id == 1_001


def test_the_end_that_used_up_the_epochs_can_be_asked_for_again() -> None:
    stage = Stage()
    producer = exhausted(stage)
    stage.add(producer)
    stage.commit(producer)
    stage.complete()
    stage.reload()
    assert stage.commit(producer) == (1_001, 0)
    assert stage.abort(producer) is ErrorCode.INVALID_TXN_STATE
    assert stage.commit((producer[0], 5)) is ErrorCode.INVALID_PRODUCER_ID_MAPPING


def test_clients_of_both_versions_can_follow_each_other_with_one_id() -> None:
    stage = Stage()
    classic = stage.init()
    stage.add(classic, version=0)
    stage.commit(classic, version=0)
    stage.complete()
    modern = stage.init()
    stage.add(modern)
    assert stage.transaction().client_version == VERSION_2
    modern = stage.commit(modern)
    stage.complete()
    assert stage.init() == (1_000, modern[1] + 1)


# Time ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, VERSION_2])
def test_a_transaction_that_takes_too_long_is_aborted_and_its_producer_fenced(version: int) -> None:
    stage = Stage()
    producer = stage.init(timeout_ms=1_000)
    stage.add(producer, version=version)
    stage.advance(1_000)
    assert stage.abort_overdue() == []
    stage.advance(1)
    assert stage.abort_overdue() == [(1_000, 1)]
    assert stage.abort_overdue() == []
    stage.complete()
    assert stage.add(producer) is ErrorCode.PRODUCER_FENCED
    assert stage.commit(producer, version=0) is ErrorCode.PRODUCER_FENCED
    assert stage.commit(producer) is ErrorCode.INVALID_TXN_STATE
    assert stage.abort(producer) == (1_000, 1), "to abort what is aborted is a retry, which tells the next epoch"


def test_a_producer_recovers_from_a_timeout() -> None:
    stage = Stage()
    producer = stage.init(timeout_ms=1_000)
    stage.add(producer)
    stage.advance(1_001)
    stage.abort_overdue()
    stage.complete()
    assert stage.init(*producer) == (1_000, 1)


def test_a_timeout_at_the_last_epoch_goes_over_to_a_new_producer_id() -> None:
    stage = Stage()
    stage.add(exhausted(stage))
    stage.advance(10_001)
    assert stage.abort_overdue() == [(1_001, 0)]
    stage.complete()
    assert stage.init() == (1_001, 1)


def test_an_id_at_rest_expires_and_an_open_one_never() -> None:
    stage = Stage()
    stage.add(stage.init(timeout_ms=2**31 - 1))
    stage.init(key="idle")
    stage.advance(59_999)
    assert stage.expire() == 0
    stage.advance(1)
    assert stage.expire() == 1
    assert set(stage.shard.transactions) == {ID}
    stage.reload()
    assert set(stage.shard.transactions) == {ID}


def test_a_transaction_without_a_timeout_is_never_overdue() -> None:
    stage = Stage()
    stage.add(stage.init(timeout_ms=2**31 - 1))
    stage.advance(10**10)
    assert stage.abort_overdue() == []


# Reloading -------------------------------------------------------------------------------------------------


def test_a_decision_found_in_the_log_is_to_be_marked() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer)
    stage.commit(producer)
    before = stage.transaction()
    stage.reload()
    assert stage.shard.prepared == {ID}
    assert stage.transaction().partitions == before.partitions
    stage.complete()
    stage.reload()
    assert stage.shard.prepared == set()


def test_completion_is_only_believed_of_the_decision_it_is_about() -> None:
    stage = Stage()
    producer = stage.init()
    stage.add(producer)
    stage.commit(producer)
    stage.complete()
    written = len(stage.log)
    stage.complete()
    assert len(stage.log) == written


def test_no_more_than_a_few_wait_for_one_transaction() -> None:
    stage = Stage()
    stage.add(stage.init())
    answers = [stage.init() for _ in range(20)]
    assert [answer for answer in answers if answer is ErrorCode.CONCURRENT_TRANSACTIONS] != []
    stage.complete()
    epochs = {reply.producer_epoch for reply in stage.replies.values() if hasattr(reply, "producer_epoch")}
    assert max(epochs) == 17
