"""What a partition knows of transactional producers: sequences, epochs, markers, permissions, and their snapshots."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import CONTROL, TRANSACTIONAL, BatchHeader
from broker.protocol.markers import EndTransactionMarker
from broker.storage import verification
from broker.storage.open_transactions import EndedTransaction
from broker.storage.producer_snapshot import decode_snapshot, encode_snapshot
from broker.storage.producer_state import ProducerState

COMMIT = EndTransactionMarker(True, 0)
ABORT = EndTransactionMarker(False, 0)


def header(first: int = 0, *, producer: int = 1, epoch: int = 0, attributes: int = TRANSACTIONAL) -> BatchHeader:
    return BatchHeader(0, 49, 0, 2, 0, attributes, 0, 77, 77, producer, epoch, first, 1)


def marker(*, producer: int = 1, epoch: int = 0) -> BatchHeader:
    return header(-1, producer=producer, epoch=epoch, attributes=TRANSACTIONAL | CONTROL)


def write(state: ProducerState, batch: BatchHeader, offset: int) -> None:
    assert state.check(batch) is None
    state.update(batch, offset, 1_000)


def end(
    state: ProducerState, batch: BatchHeader, offset: int, how: EndTransactionMarker = COMMIT, version: int = 0
) -> EndedTransaction | None:
    state.check_marker(batch, how, version)
    return state.end_transaction(batch, how, offset, 1_000)


def refusal(check: object, *arguments: object) -> ErrorCode:
    with pytest.raises(KafkaError) as refused:
        check(*arguments)  # type: ignore[operator]
    return refused.value.code


def test_a_marker_ends_the_transaction_and_tells_what_is_stable_then() -> None:
    state = ProducerState()
    write(state, header(0), 10)
    write(state, header(0, producer=2), 11)
    write(state, header(1), 12)
    assert state.transactions.first_undecided() == 10

    assert end(state, marker(), 13, ABORT) == EndedTransaction(1, 10, 13, 11, True)
    assert state.transactions.first_undecided() == 11
    assert end(state, marker(producer=2), 14) == EndedTransaction(2, 11, 14, 15, False)
    assert state.transactions.first_undecided() is None
    write(state, header(2), 15)
    assert state.transactions.first_undecided() == 15


def test_a_marker_without_a_transaction_is_harmless_and_leaves_its_epochs() -> None:
    state = ProducerState()

    assert end(state, marker(epoch=4), 0, EndTransactionMarker(False, 6)) is None

    assert [(p.producer_epoch, p.coordinator_epoch, p.last_sequence) for p in state.producers()] == [(4, 6, -1)]
    assert refusal(state.check, header(7, epoch=4)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    write(state, header(0, epoch=4), 1)


def test_an_older_coordinator_is_fenced_and_so_is_an_older_producer() -> None:
    state = ProducerState()
    write(state, header(0, epoch=3), 0)
    end(state, marker(epoch=3), 1, EndTransactionMarker(True, 5))

    code = refusal(state.check_marker, marker(epoch=3), EndTransactionMarker(True, 4))
    assert code == ErrorCode.TRANSACTION_COORDINATOR_FENCED
    assert refusal(state.check_marker, marker(epoch=2), EndTransactionMarker(True, 5)) == (
        ErrorCode.INVALID_PRODUCER_EPOCH
    )
    state.check_marker(marker(epoch=3), EndTransactionMarker(True, 5))
    state.check_marker(marker(epoch=4), EndTransactionMarker(True, 6))


def test_under_v2_only_a_newer_epoch_ends_a_transaction_and_a_repeated_marker_is_let_pass() -> None:
    state = ProducerState()
    write(state, header(0, epoch=3), 0)
    assert refusal(state.check_marker, marker(epoch=3), COMMIT, 2) == ErrorCode.INVALID_PRODUCER_EPOCH
    end(state, marker(epoch=4), 1, version=2)
    end(state, marker(epoch=4), 2, version=2)

    write(state, header(0, epoch=4), 3)

    assert refusal(state.check_marker, marker(epoch=4), COMMIT, 2) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert state.transactions.first_undecided() == 3


def test_a_marker_with_a_newer_epoch_forgets_the_batches_of_the_old_one() -> None:
    state = ProducerState()
    write(state, header(0, epoch=3), 0)
    end(state, marker(epoch=4), 1)

    assert refusal(state.check, header(0, epoch=3)) == ErrorCode.INVALID_PRODUCER_EPOCH
    write(state, header(0, epoch=4), 2)
    assert state.check(header(0, epoch=4)) is not None


def test_under_v1_sequences_go_on_over_a_marker() -> None:
    state = ProducerState()
    write(state, header(0), 0)
    end(state, marker(), 1)

    assert state.check(header(0)) is not None
    write(state, header(1), 2)


def test_a_control_batch_that_ends_nothing_is_no_marker() -> None:
    state = ProducerState()

    assert refusal(state.check_marker, marker(), None) == ErrorCode.INVALID_RECORD
    assert refusal(state.check_marker, marker(producer=-1), COMMIT) == ErrorCode.INVALID_RECORD
    assert state.end_transaction(marker(), None, 5, 1_000) is None
    assert len(state) == 0


def test_data_outside_of_an_open_transaction_is_refused() -> None:
    state = ProducerState()
    write(state, header(0, attributes=0), 0)
    write(state, header(1), 1)

    assert refusal(state.check, header(2, attributes=0)) == ErrorCode.INVALID_TXN_STATE
    assert refusal(state.check_coordinator, header(-1, attributes=0)) == ErrorCode.INVALID_TXN_STATE
    end(state, marker(), 2)
    write(state, header(2, attributes=0), 3)


def test_a_newer_epoch_goes_on_with_the_open_transaction_of_the_old_one() -> None:
    state = ProducerState()
    write(state, header(0, epoch=1), 0)
    write(state, header(0, epoch=2), 1)

    assert state.transactions.first_undecided() == 0
    assert end(state, marker(epoch=2), 2) == EndedTransaction(1, 0, 2, 3, False)


def test_a_batch_that_compaction_emptied_opens_nothing() -> None:
    state = ProducerState()

    state.update(header(4)._replace(record_count=0), 10, 1_000)

    assert state.transactions.first_undecided() is None
    assert state.check(header(4)) is not None
    write(state, header(5), 11)
    assert state.transactions.first_undecided() == 11


# Permissions -----------------------------------------------------------------------------------------


def test_the_first_batch_needs_a_permission_and_the_next_ones_do_not() -> None:
    state = ProducerState()
    assert refusal(state.check_permission, header(0), None) == ErrorCode.INVALID_TXN_STATE
    permission = state.begin_verification(header(0), 5, starts_at_zero=True)

    state.check_permission(header(0), permission)
    write(state, header(0), 0)

    assert state.begin_verification(header(1), 6, starts_at_zero=True) is None
    state.check_permission(header(1), None)
    assert refusal(state.check_permission, header(0, epoch=1), None) == ErrorCode.INVALID_TXN_STATE


def test_a_marker_makes_the_permission_worthless_even_if_another_is_asked_for() -> None:
    state = ProducerState()
    stale = state.begin_verification(header(0), 5, starts_at_zero=True)
    end(state, marker(epoch=1), 0, ABORT)
    fresh = state.begin_verification(header(0, epoch=1), 6, starts_at_zero=True)

    assert refusal(state.check_permission, header(0), stale) == ErrorCode.INVALID_TXN_STATE
    assert refusal(state.check_permission, header(0, epoch=1), stale) == ErrorCode.INVALID_TXN_STATE
    state.check_permission(header(0, epoch=1), fresh)


def test_a_fenced_producer_cannot_take_the_permission_of_the_one_that_fenced_it() -> None:
    state = ProducerState()
    permission = state.begin_verification(header(0, epoch=2), 5, starts_at_zero=True)

    zombie = state.begin_verification(header(0, epoch=1), 6, starts_at_zero=True)

    assert refusal(state.check_permission, header(0, epoch=1), zombie) == ErrorCode.INVALID_TXN_STATE
    state.check_permission(header(0, epoch=2), permission)


def test_batches_that_ask_together_share_one_permission_and_the_lowest_comes_first() -> None:
    state = ProducerState()
    second = state.begin_verification(header(1), 5, starts_at_zero=False)
    first = state.begin_verification(header(0), 6, starts_at_zero=False)
    assert first is second

    assert refusal(state.check, header(1)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    write(state, header(0), 0)
    write(state, header(1), 1)


def test_under_v2_an_unknown_producer_starts_at_zero() -> None:
    state = ProducerState()
    state.begin_verification(header(7), 5, starts_at_zero=True)
    assert refusal(state.check, header(7)) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER

    old = ProducerState()
    old.begin_verification(header(7), 5, starts_at_zero=False)
    write(old, header(7), 0)


def test_a_permission_that_nobody_used_expires() -> None:
    state = ProducerState()
    permission = state.begin_verification(header(0), 100, starts_at_zero=True)

    state.expire(now_ms=700, expiration_ms=500)

    assert len(state.verifications) == 0
    assert refusal(state.check_permission, header(0), permission) == ErrorCode.INVALID_TXN_STATE


def test_permissions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "VERIFICATIONS_PER_PARTITION_MAX", 3)
    state = ProducerState()
    permissions = [state.begin_verification(header(producer=number), 5, starts_at_zero=True) for number in range(4)]

    assert len(state.verifications) == 3
    assert refusal(state.check_permission, header(producer=0), permissions[0]) == ErrorCode.INVALID_TXN_STATE
    state.check_permission(header(producer=1), permissions[1])


# Snapshots -------------------------------------------------------------------------------------------


def test_a_snapshot_carries_open_transactions_and_coordinator_epochs() -> None:
    state = ProducerState()
    write(state, header(0, producer=7), 30)
    write(state, header(0, producer=5), 31)
    end(state, marker(producer=6, epoch=2), 32, EndTransactionMarker(False, 9))
    write(state, header(0, producer=1), 33)
    end(state, marker(producer=7), 34)

    again = ProducerState()
    again.restore(decode_snapshot(encode_snapshot(state)))

    assert again.producers() == state.producers()
    assert again.transactions.first_undecided() == 31
    assert end(again, marker(producer=5), 40, ABORT) == EndedTransaction(5, 31, 40, 33, True)
