from __future__ import annotations

import pytest

from broker.metadata import replica as module
from broker.metadata.replica import LogEntry, Replica
from broker.metadata.store import Commit, Entry, RevisionCompacted


def entry(number: int = 0, **fields: object) -> LogEntry:
    return LogEntry(id=str(number).encode(), **fields)  # type: ignore[arg-type]


def keys(replica: Replica) -> list[str]:
    return [found.key for found in replica.range("").entries]


def test_entries_are_applied_without_a_gap() -> None:
    replica = Replica()
    replica.apply(1, entry(puts={"a": b"1"}))
    for wrong in (1, 3):
        with pytest.raises(AssertionError):
            replica.apply(wrong, entry(puts={"a": b"2"}))
    assert replica.revision == 1


def test_only_what_was_there_counts_as_deleted() -> None:
    replica = Replica()
    replica.apply(1, entry(puts={"a": b"1"}))
    replica.apply(2, entry(deletes=["a", "b"]))
    assert replica.changes_after(1) == [Commit(revision=2, deletes=("a",))]


def test_the_end_of_a_session_takes_its_keys_once() -> None:
    replica = Replica()
    replica.apply(1, entry(ephemeral_puts={"a": b"1", "b": b"1", "c": b"1"}, session="s"))
    replica.apply(2, entry(ephemeral_puts={"d": b"1"}, session="t"))
    replica.apply(3, entry(puts={"c": b"for good"}))
    assert replica.sessions_with_keys() == {"s", "t"}
    replica.apply(4, entry(ends="s"))
    assert replica.changes_after(3) == [Commit(revision=4, deletes=("a", "b"))]
    assert keys(replica) == ["c", "d"]
    assert replica.sessions_with_keys() == {"t"}


def test_a_snapshot_has_everything_and_whose_it_is() -> None:
    replica, other = Replica(), Replica()
    replica.apply(1, entry(puts={"a": b"1"}))
    replica.apply(2, entry(ephemeral_puts={"b": b"2"}, session="s"))
    image = replica.image()
    replica.apply(3, entry(ends="s"))
    other.restore(image)
    assert other.range("").entries == (Entry(key="a", value=b"1", version=1), Entry(key="b", value=b"2", version=2))
    other.apply(3, entry(ends="s"))
    assert other.image() == replica.image()


def test_after_a_snapshot_the_changes_before_are_unknown() -> None:
    replica, other = Replica(), Replica()
    replica.apply(1, entry(puts={"a": b"1"}))
    replica.apply(2, entry(puts={"a": b"2"}))
    other.apply(1, entry(puts={"a": b"1"}))
    other.restore(replica.image())
    for revision in (0, 1):
        with pytest.raises(RevisionCompacted):
            other.changes_after(revision)
    assert other.changes_after(2) == []
    with pytest.raises(RevisionCompacted):
        other.changes_after(3)


def test_history_is_bounded_in_commits_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HISTORY_COMMITS_MAX", 3)
    monkeypatch.setattr(module, "HISTORY_BYTES_MAX", 100)
    replica = Replica()
    for revision in range(1, 6):
        replica.apply(revision, entry(revision, puts={"a": b"1"}))
    assert [commit.revision for commit in replica.changes_after(2)] == [3, 4, 5]
    with pytest.raises(RevisionCompacted):
        replica.changes_after(1)
    assert replica.id_at(5) == b"5"
    assert replica.id_at(2) is None
    replica.apply(6, entry(6, puts={"a": b"x" * 200}))
    assert [commit.revision for commit in replica.changes_after(5)] == [6]
    with pytest.raises(RevisionCompacted):
        replica.changes_after(4)
