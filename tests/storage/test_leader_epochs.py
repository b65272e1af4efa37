"""Which epoch wrote what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.storage.leader_epochs import LeaderEpochs


@pytest.fixture
def epochs() -> LeaderEpochs:
    return LeaderEpochs([(1, 0), (3, 10), (4, 20)])


@pytest.mark.parametrize(
    ("asked", "answer"),
    [(-1, (-1, -1)), (0, (0, 0)), (1, (1, 10)), (2, (1, 10)), (3, (3, 20)), (4, (4, 33)), (5, (-1, -1))],
)
def test_the_end_of_an_epoch_is_where_the_next_one_begins(epochs: LeaderEpochs, asked: int, answer: tuple) -> None:
    assert epochs.end_offset(asked, log_end_offset=33) == answer


def test_nothing_is_known_of_an_empty_log() -> None:
    assert LeaderEpochs().end_offset(0, 0) == (-1, -1)
    assert LeaderEpochs().latest == -1


def test_assigning_says_whether_something_new_began(epochs: LeaderEpochs) -> None:
    assert not epochs.assign(4, 25)
    assert not epochs.assign(-1, 25)
    assert epochs.assign(7, 25)
    assert epochs.entries() == [(1, 0), (3, 10), (4, 20), (7, 25)]


def test_an_entry_that_contradicts_later_ones_replaces_them(epochs: LeaderEpochs) -> None:
    assert epochs.assign(2, 15)

    assert epochs.entries() == [(1, 0), (2, 15)]


def test_replaying_batches_learns_only_newer_epochs(epochs: LeaderEpochs) -> None:
    for epoch, offset in [(1, 0), (1, 5), (3, 10), (4, 20), (4, 24), (6, 30)]:
        epochs.learn(epoch, offset)

    assert epochs.entries() == [(1, 0), (3, 10), (4, 20), (6, 30)]


def test_truncation_at_both_ends(epochs: LeaderEpochs) -> None:
    assert epochs.truncate_from_start(12)
    assert epochs.entries() == [(3, 12), (4, 20)]
    assert not epochs.truncate_from_start(12)
    assert epochs.truncate_from_end(20)
    assert epochs.entries() == [(3, 12)]
    assert not epochs.truncate_from_end(20)


@pytest.mark.parametrize(("offset", "epoch"), [(-1, -1), (0, 1), (9, 1), (10, 3), (20, 4), (500, 4)])
def test_the_epoch_of_an_offset(epochs: LeaderEpochs, offset: int, epoch: int) -> None:
    assert epochs.epoch_at(offset) == epoch


def test_the_file_is_kafkas(epochs: LeaderEpochs) -> None:
    assert epochs.encode() == b"0\n3\n1 0\n3 10\n4 20\n"


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 500))))
def test_any_order_of_assignments_leaves_increasing_entries_that_read_back(assigned: list[tuple[int, int]]) -> None:
    epochs = LeaderEpochs()
    for epoch, offset in assigned:
        epochs.assign(epoch, offset)

    entries = epochs.entries()
    assert entries == sorted(set(entries))
    assert len({start for _, start in entries}) == len(entries)
    assert LeaderEpochs.decode(epochs.encode()).entries() == entries


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"0\n",
        b"1\n0\n",
        b"0\n2\n1 0\n",
        b"0\n1\n1\n",
        b"0\n2\n1 5\n1 6\n",
        b"0\n2\n1 5\n2 5\n",
        b"\xff",
        b"0\n1\n1 17",
    ],
)
def test_a_damaged_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        LeaderEpochs.decode(content)
