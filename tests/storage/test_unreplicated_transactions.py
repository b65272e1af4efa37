"""Transactions that ended above the high watermark stay unstable over a restart and a truncation, whatever snapshots there are."""

from __future__ import annotations

import pytest

from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.committed import append_marker
from tests.storage.support import CONFIG, PARTITION, TOPIC_ID, append, flush, open_log_dir

ROLL_MS = 10**15


@pytest.fixture
def disk() -> MemoryFileSystem:
    return MemoryFileSystem()


def opened(disk: MemoryFileSystem) -> tuple[LogDir, Log]:
    log_dir = open_log_dir(disk)
    return log_dir, log_dir.create_log(PARTITION, TOPIC_ID, CONFIG)


def begin(log: Log, producer: int, sequence: int = 0) -> None:
    append(log, b"x", producer_id=producer, producer_epoch=0, base_sequence=sequence, is_transactional=True)


@pytest.mark.parametrize("clean", [True, False])
def test_over_a_restart(disk: MemoryFileSystem, clean: bool) -> None:
    log_dir, log = opened(disk)
    append(log, b"before")
    begin(log, 1)
    log.roll_if_due(ROLL_MS)
    append(log, b"replicated")  # up to here: offset 3
    append_marker(log, 1, commit=True)
    log.roll_if_due(ROLL_MS)  # a snapshot that knows of no open transaction
    append(log, b"after")
    flush(log)
    log.high_watermark = 3
    log_dir.checkpoint()
    log_dir.close(clean=clean)

    _, log = opened(disk)

    transactions = log.producer_state.transactions
    assert log.high_watermark == 3
    assert transactions.first_unstable(3) == 1
    assert transactions.first_unstable(4) is None


def test_over_a_truncation(disk: MemoryFileSystem) -> None:
    _, log = opened(disk)
    begin(log, 1)
    append_marker(log, 1, commit=False)
    log.roll_if_due(ROLL_MS)
    append(log, b"replicated elsewhere", b"and lost here")
    log.high_watermark = 1

    log.truncate_to(2)

    assert log.producer_state.transactions.first_unstable(1) == 0
    assert log.producer_state.transactions.first_unstable(2) is None
