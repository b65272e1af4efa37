"""Trap 11, KIP-320: a reader finds out by epochs whether the log it read from is still this one. The end of an epoch is asked
for with OffsetForLeaderEpoch; Fetch tells it by itself when the reader's last epoch and offset do not fit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from broker.errors import ErrorCode
from tests.support.topics import fetch
from tests.support.wire import Wire
from tests.traps.test_trap_10_leader_epochs import epoch_end


@pytest.fixture
def wire(restarted) -> Iterator[Wire]:
    with Wire(restarted[0].port) as wire:
        yield wire


def test_the_answer_is_the_largest_epoch_up_to_the_one_asked_for_and_where_it_ends(wire, restarted) -> None:
    _, topic, epochs = restarted
    first, second, last = epochs
    assert (epoch_end(wire, topic, first).leader_epoch, epoch_end(wire, topic, first).end_offset) == (first, 1)
    assert (epoch_end(wire, topic, last).leader_epoch, epoch_end(wire, topic, last).end_offset) == (last, 3)
    assert second < last - 1, "an epoch in which nothing was written"
    between = epoch_end(wire, topic, last - 1)
    assert (between.leader_epoch, between.end_offset) == (second, 2)


@pytest.mark.parametrize("beyond", [1, 100])
def test_an_epoch_that_does_not_exist_yet_has_no_end(wire, restarted, beyond: int) -> None:
    _, topic, epochs = restarted
    unknown = epoch_end(wire, topic, epochs[-1] + beyond)
    assert (unknown.error_code, unknown.leader_epoch, unknown.end_offset) == (0, -1, -1)


def test_a_fetch_that_fits_gets_records(wire, restarted) -> None:
    _, topic, epochs = restarted
    for offset, epoch in enumerate(epochs, start=1):
        result = fetch(wire, topic, offset, last_fetched_epoch=epoch)
        assert (result.error_code, result.diverging_epoch.epoch) == (0, -1)


def test_a_fetch_beyond_the_end_of_its_epoch_is_told_where_that_epoch_ended(wire, restarted) -> None:
    _, topic, epochs = restarted
    result = fetch(wire, topic, 3, last_fetched_epoch=epochs[0])
    assert (result.error_code, result.records or b"") == (0, b"")
    assert (result.diverging_epoch.epoch, result.diverging_epoch.end_offset) == (epochs[0], 1)


def test_an_epoch_nobody_had_is_out_of_range(wire, restarted) -> None:
    _, topic, epochs = restarted
    assert fetch(wire, topic, 3, last_fetched_epoch=epochs[-1] + 5).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
