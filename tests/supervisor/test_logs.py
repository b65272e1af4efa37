from __future__ import annotations

from pathlib import Path

import pytest

from broker.supervisor import logs
from broker.supervisor.logs import ServiceLog


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shown() -> list[str]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, shown: list[str], clock: Clock):
    log = ServiceLog(tmp_path / "logs" / "web.log", shown.append, clock)
    yield log
    log.close()


def test_pieces_become_lines(log: ServiceLog) -> None:
    assert log.feed(b"one\ntw") == ["one"]
    assert log.feed(b"o\r\nthree\n") == ["two", "three"]
    assert log.tail(2) == ["two", "three"]
    assert log.path.read_bytes() == b"one\ntwo\r\nthree\n"


def test_a_line_without_end_is_cut_and_memory_stays_bounded(log: ServiceLog) -> None:
    (line,) = log.feed(b"x" * 100_000)
    assert len(line) == logs.LINE_LENGTH_MAX
    assert log.feed(b"y\n") == ["y"]


def test_what_is_no_text_is_still_shown(log: ServiceLog) -> None:
    assert log.feed(b"\xff\xfe ok\n") == ["\ufffd\ufffd ok"]


def test_the_files_are_rotated_and_old_ones_go(log: ServiceLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES_MAX", 100)
    for number in range(20):
        log.feed(b"%02d" % number + b"." * 57 + b"\n")
    names = sorted(path.name for path in log.path.parent.iterdir())
    assert names == ["web.log", "web.log.1", "web.log.2"]
    assert log.path.read_bytes().startswith(b"19")
    assert (log.path.parent / "web.log.2").read_bytes().startswith(b"17")


def test_the_file_is_for_its_owner_only(log: ServiceLog) -> None:
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_complaints_reach_the_screen_and_chatter_does_not(log: ServiceLog, shown: list[str]) -> None:
    log.feed(
        b"2026-01-01 INFO all is well\n2026-01-01 ERROR x: it broke\nTraceback (most recent call last):\n  File\nValueError: no\n"
    )
    assert shown == ["2026-01-01 ERROR x: it broke", "ValueError: no"]


def test_a_flood_of_complaints_is_cut_short_until_the_next_window(
    log: ServiceLog, shown: list[str], clock: Clock
) -> None:
    log.feed(b"ERROR again\n" * 50)
    assert len(shown) == logs.SHOWN_PER_WINDOW_MAX + 1
    assert shown[-1].startswith("... more of this in ")
    clock.now += logs.SHOWN_WINDOW_SECONDS + 1
    log.feed(b"ERROR later\n")
    assert shown[-1] == "ERROR later"


def test_last_words_are_those_of_the_process(log: ServiceLog) -> None:
    log.feed(b"Traceback\nOSError: no space left on device\n\n")
    log.note("exited with code 1")
    assert log.last_words() == "OSError: no space left on device"
