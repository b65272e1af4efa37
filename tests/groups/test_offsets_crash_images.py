"""Crashing at every change of the disk: no answered commit or marker is lost, and none is found halfway."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from broker.storage.crash_images import TEAR_POINTS, image_after_power_cut, image_after_process_crash, random_image
from broker.storage.memory_filesystem import MemoryFileSystem
from tests.groups.offsets_story import OffsetsStory, check_image

Images = Callable[[OffsetsStory, int], Iterator[MemoryFileSystem]]


def killed(story: OffsetsStory, position: int) -> Iterator[MemoryFileSystem]:
    yield image_after_process_crash(story.disk.journal[:position])


def torn(story: OffsetsStory, position: int) -> Iterator[MemoryFileSystem]:
    yield image_after_process_crash(story.disk.journal[:position], TEAR_POINTS[position % len(TEAR_POINTS)])


def unplugged(story: OffsetsStory, position: int) -> Iterator[MemoryFileSystem]:
    yield image_after_power_cut(story.disk.journal[:position])


def partly_written(story: OffsetsStory, position: int) -> Iterator[MemoryFileSystem]:
    yield random_image(story.disk.journal[:position], random.Random(position))


@pytest.mark.parametrize("images", [killed, torn, unplugged, partly_written])
async def test_every_crash_finds_what_was_answered(images: Images) -> None:
    story = OffsetsStory()
    await story.tell()
    for position in range(len(story.disk.journal) + 1):
        for image in images(story, position):
            try:
                await check_image(story, image, position)
            except Exception as problem:
                last = story.disk.journal[position - 1] if position else None
                problem.add_note(f"{images.__name__}, after {position} changes, the last: {last}")
                raise
