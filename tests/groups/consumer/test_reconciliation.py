"""One member's way to its target, step by step."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.reconciliation import Goal, next_assignment
from broker.groups.consumer.records import (
    STABLE,
    UNKNOWN_STATE,
    UNRELEASED_PARTITIONS,
    UNREVOKED_PARTITIONS,
    CurrentAssignment,
    Partitions,
)

T, U = b"t" * 16, b"u" * 16


def step(
    current: CurrentAssignment,
    target: Mapping[bytes, set[int]],
    *,
    owned: Partitions | None = None,
    owners: Mapping[tuple[bytes, int], str] = {},
    subscribed: frozenset[bytes] = frozenset({T, U}),
    changed: bool = False,
    epoch: int = 11,
) -> CurrentAssignment:
    goal = Goal(
        epoch=epoch,
        target={topic_id: frozenset(partitions) for topic_id, partitions in target.items()},
        subscribed=subscribed,
        subscription_changed=changed,
        owner=lambda topic_id, partition: owners.get((topic_id, partition)),
    )
    return next_assignment("me", current, goal, owned)


AT_10 = CurrentAssignment(epoch=10, previous_epoch=9, assigned={T: {0: 8, 1: 10}})


def test_at_the_target_nothing_moves() -> None:
    assert step(AT_10, {T: {0, 1}}, epoch=10) is AT_10


def test_an_unchanged_target_moves_only_the_epoch_and_keeps_when_partitions_came() -> None:
    assert step(AT_10, {T: {0, 1}}) == CurrentAssignment(epoch=11, previous_epoch=10, assigned=AT_10.assigned)


def test_free_partitions_are_given_at_once_in_the_new_epoch() -> None:
    moved = step(AT_10, {T: {0, 1, 2}, U: {5}})
    assert moved == CurrentAssignment(epoch=11, previous_epoch=10, assigned={T: {0: 8, 1: 10, 2: 11}, U: {5: 11}})


def test_what_is_not_in_the_target_is_given_up_first_in_the_old_epoch() -> None:
    moved = step(AT_10, {T: {1, 2}})
    assert moved == CurrentAssignment(
        epoch=10, previous_epoch=9, state=UNREVOKED_PARTITIONS, assigned={T: {1: 10}}, revoking={T: {0: 8}}
    )


UNREVOKED = CurrentAssignment(
    epoch=10, previous_epoch=9, state=UNREVOKED_PARTITIONS, assigned={T: {1: 10}}, revoking={T: {0: 8}}
)


@pytest.mark.parametrize("owned", [None, {T: frozenset({0, 1})}, {T: frozenset({0})}])
def test_while_it_owns_what_it_must_give_up_it_waits(owned: Partitions | None) -> None:
    assert step(UNREVOKED, {T: {1, 2}}, owned=owned) is UNREVOKED


@pytest.mark.parametrize("owned", [{}, {T: frozenset({1})}, {U: frozenset({0})}])
def test_once_given_up_it_enters_the_new_epoch(owned: Partitions) -> None:
    moved = step(UNREVOKED, {T: {1, 2}}, owned=owned)
    assert moved == CurrentAssignment(epoch=11, previous_epoch=10, assigned={T: {1: 10, 2: 11}})


def test_a_newer_target_may_return_what_was_being_given_up() -> None:
    moved = step(UNREVOKED, {T: {0, 1}}, owned={T: frozenset({1})}, owners={(T, 0): "me"})
    assert moved == CurrentAssignment(epoch=11, previous_epoch=10, assigned={T: {0: 11, 1: 10}})


def test_partitions_of_others_are_waited_for() -> None:
    moved = step(AT_10, {T: {0, 1, 2, 3}}, owners={(T, 2): "other"})
    assert moved == CurrentAssignment(
        epoch=11, previous_epoch=10, state=UNRELEASED_PARTITIONS, assigned={T: {0: 8, 1: 10, 3: 11}}
    )


def test_in_the_meantime_the_epoch_before_stays_good() -> None:
    """However many answers are lost: a retry under it is let in until a later epoch."""
    waiting = CurrentAssignment(epoch=11, previous_epoch=10, state=UNRELEASED_PARTITIONS, assigned={T: {0: 8}})
    assert step(waiting, {T: {0, 2}}, owners={(T, 2): "other"}) == waiting
    released = step(waiting, {T: {0, 2}})
    assert released == CurrentAssignment(epoch=11, previous_epoch=10, state=STABLE, assigned={T: {0: 8, 2: 11}})


def test_a_topic_no_longer_subscribed_to_is_given_up_before_the_targets_know() -> None:
    current = CurrentAssignment(epoch=10, previous_epoch=9, assigned={T: {0: 8}, U: {3: 9}})
    only_t = frozenset({T})
    moved = step(current, {T: {0}, U: {3}}, subscribed=only_t, changed=True, epoch=10)
    assert moved == CurrentAssignment(
        epoch=10, previous_epoch=9, state=UNREVOKED_PARTITIONS, assigned={T: {0: 8}}, revoking={U: {3: 9}}
    )
    given_up = step(current, {T: {0}, U: {3}}, subscribed=only_t, changed=True, epoch=10, owned={})
    assert given_up == CurrentAssignment(epoch=10, previous_epoch=9, assigned={T: {0: 8}})


def test_more_may_have_to_be_given_up_while_something_is() -> None:
    current = CurrentAssignment(
        epoch=10, previous_epoch=9, state=UNREVOKED_PARTITIONS, assigned={U: {3: 9}}, revoking={T: {0: 8}}
    )
    moved = step(current, {U: {3}}, subscribed=frozenset({T}), changed=True, owned={T: frozenset({0})})
    assert moved == CurrentAssignment(
        epoch=10, previous_epoch=9, state=UNREVOKED_PARTITIONS, revoking={T: {0: 8}, U: {3: 9}}
    )


def test_a_target_never_brings_a_topic_that_is_not_subscribed_to() -> None:
    assert step(AT_10, {T: {0, 1}, U: {1}}, subscribed=frozenset({T})).assigned == AT_10.assigned


def test_in_a_state_nobody_knows_a_member_has_to_abandon_everything() -> None:
    unknown = CurrentAssignment(epoch=10, previous_epoch=9, state=UNKNOWN_STATE, assigned={T: {0: 8}})
    for owned in (None, {T: frozenset({0})}):
        with pytest.raises(KafkaError) as refused:
            step(unknown, {T: {0}}, owned=owned)
        assert refused.value.code is ErrorCode.FENCED_MEMBER_EPOCH
    assert step(unknown, {T: {0}}, owned={}).state == STABLE
