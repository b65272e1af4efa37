"""How the tests of a parallel run (``pytest -n 2``) are shared out among its processes.

A file's tests stay together, because they share what their fixtures start: a broker, a worker, compiled programs. Those of
the browser are one file in this respect, for they share a whole installation. What takes long is begun first, so that no
process is left alone with it at the end; everything else comes in the random order of the run.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/browser",)
"""Packages whose files share something dear."""
FIRST = (
    "tests/browser",
    "tests/faults",
    "tests/interop",
    "tests/project/test_compose.py",
    "tests/supervisor/test_up.py",
    "tests/storage/test_crash_images.py",
)


def shared_by(node_id: str) -> str:
    """What a test shares its fixtures with: tests that give the same stay in one process."""
    file = node_id.split("::", 1)[0]
    return next((package for package in TOGETHER if _is_below(file, package)), file)


def begin_with(node_id: str) -> int:
    """The lower, the earlier."""
    group = shared_by(node_id)
    return next((rank for rank, first in enumerate(FIRST) if _is_below(group, first)), len(FIRST))


class SharingOut(LoadScopeScheduling):
    """The scheduler of pytest-xdist with our idea of what belongs together."""

    def _split_scope(self, nodeid: str) -> str:
        return shared_by(nodeid)


def _is_below(file: str, ancestor: str) -> bool:
    return PurePosixPath(file).is_relative_to(ancestor)
