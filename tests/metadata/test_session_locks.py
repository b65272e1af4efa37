from __future__ import annotations

from pathlib import Path

import pytest

from broker.metadata import session_locks
from broker.metadata.session_locks import SessionLocks


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_locks, "RETRY_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "metadata.sqlite3"


def test_a_name_is_held_by_one_session_until_it_is_released(store: Path) -> None:
    ours, theirs = SessionLocks(store), SessionLocks(store)
    assert ours.acquire("session-1", "broker-1")
    assert not theirs.acquire("session-2", "broker-1")
    assert not ours.acquire("session-3", "broker-1")
    assert theirs.acquire("session-4", "broker-2")
    assert (ours.held(), theirs.held()) == (("session-1",), ("session-4",))
    ours.release("session-1")
    assert theirs.acquire("session-2", "broker-1")
    theirs.release_all()
    assert theirs.held() == ()


def test_asking_whether_a_name_is_free_changes_nothing(store: Path) -> None:
    ours, theirs = SessionLocks(store), SessionLocks(store)
    assert theirs.is_free("broker-1")
    ours.acquire("session-1", "broker-1")
    assert not theirs.is_free("broker-1")
    assert not theirs.is_free("broker-1")
    ours.release("session-1")
    assert theirs.is_free("broker-1")
    assert ours.acquire("session-2", "broker-1")
    ours.release_all()


def test_releasing_what_is_not_held_is_not_an_error(store: Path) -> None:
    SessionLocks(store).release("never opened")


def test_a_name_cannot_lead_out_of_the_directory(store: Path) -> None:
    locks = SessionLocks(store)
    assert locks.acquire("session", "../../etc/x")
    assert {path.parent for path in store.parent.rglob("*")} == {store.parent}
    locks.release_all()
