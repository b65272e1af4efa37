"""What readers of committed data are told about a log that was compacted: the same as before, whatever was taken out."""

from __future__ import annotations

import pytest

from tests.compaction.stage import Stage
from tests.storage.committed import check_committed


def transaction(stage: Stage, producer: int, key: bytes, *, commit: bool | None) -> None:
    known = {p.producer_id: p.last_sequence for p in stage.log.producer_state.producers()}
    stage.append(
        (key, b"of %d" % producer),
        producer_id=producer,
        producer_epoch=0,
        base_sequence=known.get(producer, -1) + 1,
        is_transactional=True,
    )
    if commit is not None:
        stage.marker(producer, commit=commit)


@pytest.fixture
def stage() -> Stage:
    """Three segments; what is aborted in one began in another, and one transaction is open at the end."""
    stage = Stage()
    transaction(stage, 1, b"a", commit=True)
    transaction(stage, 2, b"b", commit=None)
    transaction(stage, 3, b"c", commit=False)
    stage.close_segment()
    transaction(stage, 1, b"a", commit=False)
    stage.marker(2, commit=False)
    transaction(stage, 3, b"b", commit=True)
    stage.close_segment()
    transaction(stage, 4, b"d", commit=None)
    stage.undecided = stage.log.producer_state.transactions.first_undecided()
    return stage


@pytest.mark.parametrize("clean", [True, False])
def test_readers_see_the_same_before_and_after_and_after_a_restart(stage: Stage, clean: bool) -> None:
    table = stage.table()
    check_committed(stage.log)

    stage.compact()

    assert len(stage.log.segments()) == 2, "two segments became one"
    check_committed(stage.log)
    stage.restart(clean=clean)
    assert stage.table() == table
    check_committed(stage.log)
    stage.marker(4, commit=False)
    check_committed(stage.log)


def test_the_batch_that_is_kept_for_its_sequence_holds_nobody_back(stage: Stage) -> None:
    """Its transaction was aborted; once the marker is gone too, nothing would ever end it."""
    stage.marker(4, commit=False)
    stage.undecided = None
    for _ in range(3):
        stage.close_segment()
        stage.clock.advance(10_000)
        stage.append((b"z", b"later"))
        stage.compact()
    for path in stage.file_names():
        if path.endswith(".snapshot"):
            stage.disk.unlink(f"{stage.log.directory}/{path}")

    stage.restart(clean=False)

    assert any(header.is_transactional and not header.record_count for header in stage.headers())
    assert stage.log.producer_state.transactions.first_undecided() is None
    check_committed(stage.log)
