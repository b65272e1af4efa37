from __future__ import annotations

import os
from pathlib import Path

import pytest

from broker.supervisor import fingerprint


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("broker/migrations/0001_initial.py", "static/ottla/page.js", "dashboard/project/settings.py"):
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True)
        path.write_text("one")
    return tmp_path / "project"


@pytest.fixture
def home(tmp_path: Path, project: Path) -> Path:
    home = tmp_path / "home"
    (home / "static").mkdir(parents=True)
    (home / "db.sqlite3").touch()
    fingerprint.store(home, fingerprint.compute(project))
    return home


def test_nothing_changed_is_recognised(home: Path, project: Path) -> None:
    assert fingerprint.is_current(home, project)


@pytest.mark.parametrize("name", ["broker/migrations/0002_more.py", "static/ottla/new.css", "static/ottla/page.js"])
def test_a_new_or_changed_input_means_set_up(home: Path, project: Path, name: str) -> None:
    (project / name).write_text("two two")
    assert not fingerprint.is_current(home, project)


def test_an_edit_of_the_same_length_is_noticed(home: Path, project: Path) -> None:
    path = project / "static/ottla/page.js"
    path.write_text("two")
    os.utime(path, (1, 1))
    assert not fingerprint.is_current(home, project)


@pytest.mark.parametrize("lost", ["db.sqlite3", fingerprint.FILE_NAME])
def test_a_home_that_lost_something_is_set_up_again(home: Path, project: Path, lost: str) -> None:
    (home / lost).unlink()
    assert not fingerprint.is_current(home, project)


def test_another_database_is_set_up_too(home: Path, project: Path) -> None:
    assert not fingerprint.is_current(home, project, "postgresql://db/ottla")
    (home / "db.sqlite3").unlink()
    fingerprint.store(home, fingerprint.compute(project, "postgresql://db/ottla"))
    assert fingerprint.is_current(home, project, "postgresql://db/ottla")
    assert not fingerprint.is_current(home, project, "postgresql://db/another")
