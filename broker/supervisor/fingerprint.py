"""Has anything changed that set-up would have to act on? A warm start skips set-up when not.

The fingerprint covers what set-up reads: migrations and static files of the project, the versions of the
packages that bring their own, the interpreter, and which database it is. It is stored after a set-up that succeeded.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

PACKAGES = ("Django", "django-unfold", "channels", "whitenoise")
FILE_NAME = "setup.fingerprint"


def is_current(home: Path, project_root: Path, database_url: str = "") -> bool:
    """``database_url`` empty: the database is a file in ``home``."""
    if not (database_url or (home / "db.sqlite3").exists()) or not (home / "static").is_dir():
        return False
    try:
        stored = (home / FILE_NAME).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return False
    return stored == compute(project_root, database_url)


def store(home: Path, fingerprint: str) -> None:
    """``fingerprint`` as computed *before* set-up read its inputs: what changed meanwhile is seen next time."""
    temporary = home / f".{FILE_NAME}.{os.getpid()}"
    temporary.write_text(fingerprint + "\n", encoding="ascii")
    temporary.replace(home / FILE_NAME)


def compute(project_root: Path, database_url: str = "") -> str:
    digest = hashlib.sha256(f"{sys.version_info[:3]} {project_root} {database_url}".encode())
    for package in PACKAGES:
        digest.update(f"\n{package} {_version(package)}".encode())
    for path in _inputs(project_root):
        status = path.stat()
        digest.update(f"\n{path.relative_to(project_root)} {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _inputs(project_root: Path) -> Iterator[Path]:
    """Sorted, so that the order of a directory does not matter."""
    for pattern in ("broker/migrations/*.py", "dashboard/migrations/*.py", "dashboard/project/settings.py"):
        yield from sorted(project_root.glob(pattern))
    for pattern in ("static", "dashboard/static", "broker/static"):
        yield from sorted(path for path in (project_root / pattern).rglob("*") if path.is_file())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
