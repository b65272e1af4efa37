"""Crashing at every change of the disk loses nothing that was promised."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from broker.errors import KafkaError
from broker.storage import segment_scan
from broker.storage.crash_images import (
    TEAR_POINTS,
    image_after_power_cut,
    image_after_process_crash,
    random_image,
)
from broker.storage.flush_ticket import FlushTicket
from broker.storage.log_dir import LogDir
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.storage.crash_story import Story, check_image

Images = Callable[[Story, int], Iterator[MemoryFileSystem]]


def killed(story: Story, position: int) -> Iterator[MemoryFileSystem]:
    yield image_after_process_crash(story.disk.journal[:position])


def torn(story: Story, position: int) -> Iterator[MemoryFileSystem]:
    for tear in TEAR_POINTS:
        yield image_after_process_crash(story.disk.journal[:position], tear)


def unplugged(story: Story, position: int) -> Iterator[MemoryFileSystem]:
    yield image_after_power_cut(story.disk.journal[:position])


def partly_written(story: Story, position: int) -> Iterator[MemoryFileSystem]:
    for seed in range(3):
        yield random_image(story.disk.journal[:position], random.Random(position * 1_000 + seed))


@cache
def told_story() -> Story:
    story = Story()
    story.tell()
    return story


def check_every_crash(story: Story, images: Images, step: int = 1) -> None:
    for position in range(0, len(story.disk.journal) + 1, step):
        for number, image in enumerate(images(story, position)):
            try:
                check_image(story, image, position)
            except Exception as problem:
                last = story.disk.journal[position - 1] if position else None
                problem.add_note(f"{images.__name__}, image {number}, after {position} changes, the last: {last}")
                raise


@pytest.mark.parametrize("images", [killed, torn, unplugged, partly_written])
def test_every_crash_recovers_what_was_promised(images: Images) -> None:
    check_every_crash(told_story(), images)


def check_random_lives(seeds: range, *, faults: bool = False) -> None:
    for seed in seeds:
        choose = random.Random(seed)
        story = Story()
        try:
            story.tell_at_random(choose, steps=80, faults=faults)
        except Exception as problem:
            problem.add_note(f"seed {seed}, before any crash")
            raise
        for _ in range(25):
            position = choose.randint(0, len(story.disk.journal))
            image = choose.choice([killed, torn, unplugged, partly_written])
            try:
                for disk in image(story, position):
                    check_image(story, disk, position)
            except Exception as problem:
                problem.add_note(f"seed {seed}, {image.__name__} after {position} changes")
                raise


def test_random_lives_and_crashes_keep_what_was_promised() -> None:
    check_random_lives(range(8))


def test_random_lives_on_a_failing_disk_keep_what_was_promised() -> None:
    check_random_lives(range(8), faults=True)


@pytest.mark.nightly
@pytest.mark.timeout(3_600)
def test_many_random_lives_and_crashes_keep_what_was_promised() -> None:
    check_random_lives(range(1_000, 3_000))
    check_random_lives(range(3_000, 5_000), faults=True)


def test_the_story_is_worth_telling() -> None:
    """It rolls, deletes and truncates, or the test above proves little."""
    story = told_story()

    assert story.log.segment_count >= 3
    assert story.log.log_start_offset == 9
    assert any(len(values) > 1 for values in story.written.values())
    assert len(story.disk.journal) > 150


# The suite bites: each of these breaks one rule and must be caught ----------------------------------------


def _no_sync(ticket: FlushTicket) -> None:
    return None


def _no_directory_sync(ticket: FlushTicket) -> None:
    ticket.directories.clear()
    for fd in ticket._descriptors:
        ticket._filesystem.datasync(fd)


def _no_crc(*_: object) -> bool:
    return True


def skip_fsync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FlushTicket, "run", _no_sync)


def skip_directory_fsync(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(FlushTicket, "run", _no_directory_sync)


def skip_log_start_checkpoint(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LogDir, "_save_log_starts", lambda _: None)


def skip_recovery_point_before_truncation(patch: pytest.MonkeyPatch) -> None:
    real = LogDir._save_recovery_points

    def only_at_open(log_dir: LogDir) -> None:
        if not log_dir.logs or all(log.flushed_offset == log.log_end_offset for log in log_dir.logs.values()):
            real(log_dir)

    patch.setattr(LogDir, "_save_recovery_points", only_at_open)


@pytest.mark.parametrize(
    ("break_rule", "images"),
    [
        (skip_fsync, unplugged),
        (skip_directory_fsync, unplugged),
        (skip_log_start_checkpoint, unplugged),
        (skip_recovery_point_before_truncation, killed),
    ],
)
def test_breaking_a_rule_of_durability_is_caught(
    monkeypatch: pytest.MonkeyPatch, break_rule: Callable[[pytest.MonkeyPatch], None], images: Images
) -> None:
    with monkeypatch.context() as patch:
        break_rule(patch)
        story = Story()
        story.tell()

    with pytest.raises(AssertionError):
        check_every_crash(story, images)


def test_recovering_without_the_crc_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_scan, "crc_is_valid", _no_crc)

    with pytest.raises(KafkaError, match="corrupt"):
        check_every_crash(told_story(), partly_written)
