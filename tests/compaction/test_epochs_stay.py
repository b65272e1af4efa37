"""Who copies a compacted log learns where its leader epochs begin: never later than they did.

A replica that was away asks its leader where the epoch of its own last records ended. A leader that copied a compacted log
and believes that the next epoch began later than it did would tell it to keep records that are no part of the log.
"""

from __future__ import annotations

import pytest

from broker.replication.follower import Follower, Truncate
from broker.storage.log import Log
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.compaction.stage import Stage
from tests.storage.support import PARTITION, PATH, append, open_log, open_log_dir


@pytest.fixture
def stage() -> Stage:
    """Epoch 1 ends at 5. Of the beginning of epoch 2 nothing is worth keeping."""
    stage = Stage()
    stage.epoch = 1
    for number in range(5):
        stage.append((b"%d" % number, b"first"))
    stage.epoch = 2
    for number in range(5):
        stage.append((b"a", b"%d" % number))
    stage.append((b"b", b"last"))
    stage.close_segment()
    return stage


def restarted(disk: MemoryFileSystem, stage: Stage) -> Log:
    """After kill -9 of whoever had ``disk``: epochs that are not on disk are learned from the batches."""
    survived = MemoryFileSystem(disk.root)
    survived.unlink(f"{PATH}/.lock")
    return open_log_dir(survived, config=stage.config).logs[PARTITION]


def test_a_copy_of_a_compacted_log_knows_where_an_epoch_begins(stage: Stage) -> None:
    stage.compact()
    assert [offset for offset, _, _ in stage.records()] == [0, 1, 2, 3, 4, 9, 10]
    disk = MemoryFileSystem()
    copy = stage.copied(disk)

    assert copy.epochs() == stage.log.epochs() == [(1, 0), (2, 5)]
    assert restarted(disk, stage).epochs() == [(1, 0), (2, 5)]


def test_compacting_the_copy_or_compacting_again_does_not_change_that(stage: Stage) -> None:
    stage.compact()
    before = stage.headers()
    stage.compact()
    assert stage.headers() == before
    stage.epoch = 3
    stage.append((b"b", b"newer"))
    stage.close_segment()
    stage.compact()
    assert stage.copied(MemoryFileSystem()).epochs() == [(1, 0), (2, 5), (3, 11)]


def test_what_a_former_leader_wrote_alone_is_cut_off_by_a_leader_that_copied_later(stage: Stage) -> None:
    stage.compact()
    copy = stage.copied(MemoryFileSystem())
    former = open_log(MemoryFileSystem())
    for _ in range(7):
        append(former, b"x", leader_epoch=1)

    follower = Follower()
    follower.follow(leader=2, leader_epoch=3)
    epoch, end_offset = copy.end_offset_for_epoch(former.latest_epoch)
    effects = follower.on_diverging(
        epoch, end_offset, own_end=former.end_offset_for_epoch, log=former, high_watermark=5
    )

    assert effects == (Truncate(offset=5, below_high_watermark=0),)


def test_the_first_epoch_begins_with_the_log_whatever_became_of_its_first_batch() -> None:
    stage = Stage()
    stage.epoch = 4
    for number in range(5):
        stage.append((b"a", b"%d" % number))
    stage.close_segment()
    stage.compact()
    assert [header.base_offset for header in stage.headers()] == [4]
    disk = MemoryFileSystem()

    assert stage.copied(disk).epochs() == [(4, 0)]
    assert restarted(disk, stage).epochs() == [(4, 0)]


def test_a_copy_that_begins_at_a_later_log_start_begins_its_first_epoch_there(stage: Stage) -> None:
    stage.compact()
    stage.log.advance_log_start(7)
    copy = open_log(MemoryFileSystem(), config=stage.config)
    copy.restart_at(7)
    for header, whole in stage._batches():
        if header.base_offset >= 7:
            copy.append_as_follower(whole)

    assert copy.epochs() == stage.log.epochs() == [(2, 7)]
