"""Programs a test needs beyond the Python packages: absent, the test is skipped and names what is missing.

On CI (``CI`` is set) such a skip is a failure: there a missing program is a mistake of the machine, not a choice.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = {
    "kcat": "kcat",
    "chromium": "chromium",
    "java": "openjdk-17-jre-headless",
    "javac": "openjdk-17-jdk-headless",
    "mvn": "maven",
    "go": "golang-go",
    "strace": "strace",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
}
"""Debian's name for each program; ``make test`` installs them where it may."""


def require_tool(name: str) -> str:
    """The program's path."""
    path = shutil.which(name)
    if path is None:
        _do_without(name, PACKAGES.get(name, name))
    return path


def require_file(path: Path, package: str) -> Path:
    """As ``require_tool``, for what a package brings that is no program."""
    if not path.exists():
        _do_without(str(path), package)
    return path


def _do_without(what: str, package: str) -> NoReturn:
    reason = f"{what} is not installed (apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
