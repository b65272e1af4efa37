from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.metadata import wake_pipes
from broker.metadata.wake_pipes import ACKNOWLEDGED, NEWS, WakePipes


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "metadata.sqlite3"


def test_everybody_else_is_woken(store: Path) -> None:
    pipes = [WakePipes(store) for _ in range(3)]
    for pipe in pipes:
        pipe.open()
    pipes[0].wake_others(NEWS)
    pipes[1].wake_others(ACKNOWLEDGED)
    assert [set(pipe.read()) for pipe in pipes] == [set(ACKNOWLEDGED), set(NEWS), set(NEWS + ACKNOWLEDGED)]
    assert [pipe.read() for pipe in pipes] == [b""] * 3
    for pipe in pipes:
        pipe.close()
    assert list(store.parent.iterdir()) == []


def test_the_pipe_of_a_dead_process_is_removed(store: Path) -> None:
    dead = store.with_name(f"{store.name}-wake-dead")
    os.mkfifo(dead)
    pipe = WakePipes(store)
    pipe.open()
    pipe.wake_others(NEWS)
    assert not dead.exists()
    pipe.close()


def test_a_reader_that_does_not_read_blocks_nobody(store: Path) -> None:
    pipe, lazy = WakePipes(store), WakePipes(store)
    pipe.open()
    lazy.open()
    for _ in range(20):
        pipe.wake_others(NEWS * 4_096)
    assert lazy.read() == NEWS * 65_536
    pipe.close()
    lazy.close()


def test_without_pipes_there_is_nothing_to_read_and_nothing_fails(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(wake_pipes.os, "mkfifo", refuse)
    pipe = WakePipes(store)
    pipe.open()
    assert (pipe.descriptor, pipe.read()) == (None, b"")
    pipe.wake_others(NEWS)
    pipe.close()
    pipe.close()
