"""Our scenarios on franz-go: built once by the machine's own Go, with modules from its proxy.

Where Go is missing or too old for the client's modules, the test is skipped and says so.
"""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.interop.apache import said
from tests.support.requires import require_tool

SECONDS_MAX = 100
BUILD_SECONDS_MAX = 300
SOURCE = Path(__file__).parent / "go_client"


def require_go() -> None:
    require_tool("go")
    try:
        _program()
    except subprocess.CalledProcessError as error:
        reason = f"Go cannot build {SOURCE.name}: {error.stderr.strip()[-400:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def scenario(name: str, *arguments: str) -> dict[str, str]:
    """What one scenario said, as name → last value. Fails the test with its error."""
    done = subprocess.run(
        [_program(), name, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return said(done.stdout)


def start_scenario(name: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([_program(), name, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@lru_cache(maxsize=1)
def _program() -> str:
    path = Path(mkdtemp(prefix="ottla-go-")) / "go-client"
    command = ["go", "build", "-mod=readonly", "-o", str(path), "."]
    subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=True)
    return str(path)
